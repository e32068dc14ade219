"""Representations: learned without labels, how alike two are, how many dimensions one uses, and whitening."""

from armillary.represent.factor_model import FactorModel, pretrain_factor_model
from armillary.represent.similarity import effective_rank, linear_cka
from armillary.represent.supervised_dictionary import SupervisedDictionary, fit_supervised_dictionary
from armillary.represent.whiten import whiten

__all__ = [
    "FactorModel",
    "SupervisedDictionary",
    "effective_rank",
    "fit_supervised_dictionary",
    "linear_cka",
    "pretrain_factor_model",
    "whiten",
]
