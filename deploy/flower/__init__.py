"""Strategies of Flower whose learning rates a controller or agent of federated_lr sets."""

MISSING = (
    "a strategy of Flower needs flwr; install it with pip install 'sysopt-gym[flower]' (without"
    " Flower's own extra [simulation], which pins another Ray)"
)
