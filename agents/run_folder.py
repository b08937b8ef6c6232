"""Names of what lies in the folder of a training run, of its seeds or of a sweep."""

CONFIG, STATE, HISTORY = "config.yaml", "state.json", "history.jsonl"
POLICY = "policy"  # the folder of the exported policy
SEED = "seed-"  # how the folders of runs begin that differ in their seed alone
TRIALS = "trials"  # the folder of a sweep's runs
GO_ON = "go on with --resume; the run is kept up to its last checkpoint"
ELSEWHERE = "another out=FOLDER"
