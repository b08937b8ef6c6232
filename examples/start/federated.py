# %% [markdown]
# # A federated-learning engineer: your clients' data to a controller to Flower
#
# Needs `pip install 'sysopt-gym[flower]'`. The table has a row an example, with a column of labels
# and one of clients; here it is a template. Put yours in its place.

# %%
from pathlib import Path

import sysopt_gym

problem = sysopt_gym.load_problem("federated_lr")
Path("clients.csv").write_text(problem.template().text)
federation = problem.load_file(Path("clients.csv"), {"rounds": "10", "participants": "4"})
for fact, value in problem.describe(federation).items():
    print(f"{fact:38} {value}")

# %% [markdown]
# Which controller of the two learning rates suits data like these? A simulation in this process;
# `agent` is trained, FedAdam is not.

# %%
for name in ("fedavg", "fedadam_constant", "agent"):
    run = sysopt_gym.solve(federation, with_=name, budget_s=60.0)
    verdict = problem.validate(federation, run.actions, sysopt_gym.World())
    print(f"{name:18} {verdict.objective:.3f} of the test rows right in the end")

# %% [markdown]
# The same controller as a strategy of Flower, for clients that are elsewhere. `validate` says how
# good a model is on rows of the server's own; `strategy.start(grid, arrays)` is for a ServerApp.
# `examples/flower_app` is a whole app of two files, to be sent by `flwr run`.

# %%
import numpy as np
from flwr.app import Array, ArrayRecord
from sysopt_gym.datasets.federated_lr.instance import terms_of
from sysopt_gym.deploy.flower.strategy import controller_strategy

rows, labels = federation.val_inputs, federation.val_labels


def validate(arrays):
    logits = rows @ arrays["w"].numpy() + arrays["b"].numpy()
    loss = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(labels)), labels]
    return float(loss.mean()), float((logits.argmax(axis=1) == labels).mean())


first = ArrayRecord({"w": Array(np.zeros((rows.shape[1], 2))), "b": Array(np.zeros(2))})
controller = sysopt_gym.load_contender("federated_lr", "agent").object()
strategy = controller_strategy(controller, terms_of(federation), validate, fraction_evaluate=0.0)
print(type(strategy).__name__, "is ready; loss and accuracy at first:", validate(first))
