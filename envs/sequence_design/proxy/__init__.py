"""Proxies of sequence design: models of the score, fitted to the offline set alone.

networks.py has the kinds of networks (kernels.py their compiled parts), sites.py the site models,
model.py the ensemble that predicts, scores.py the scale of its predictions, trainer.py the
training, fit.py what is fitted.
"""

from .fit import fit_proxy, reference_proxy
from .model import Ensemble
from .networks import Members, MotifNetworks, Networks
from .scores import normal_scores, scaled_scores
from .trainer import Trainer, cosine_decay

__all__ = [
    "Ensemble",
    "Members",
    "MotifNetworks",
    "Networks",
    "Trainer",
    "cosine_decay",
    "fit_proxy",
    "normal_scores",
    "reference_proxy",
    "scaled_scores",
]
