"""Metrics of the confusion matrix at every threshold: all from the histograms that the standard metrics need anyway."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from samsod.evaluation.metrics.metric import CurveMetric, ratio
from samsod.evaluation.metrics.subject import Subject
from samsod.registry import METRICS


class ConfusionMetric(CurveMetric):
    """A function of the numbers of true and false positives and negatives."""

    @abstractmethod
    def of(self, tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
        """The metric, entry by entry."""

    def score(self, subject: Subject) -> np.ndarray:
        """The metric at all thresholds."""
        tp, fp = subject.tp, subject.fp
        return self.of(tp, fp, subject.pixels - subject.positives - fp, subject.positives - tp)


@METRICS.register("IoU")
class IoU(ConfusionMetric, name="IoU"):
    """Intersection over union, tp / (tp + fp + fn)."""

    def of(self, tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
        """See the class."""
        return ratio(tp, tp + fp + fn)


@METRICS.register("Dice")
class Dice(ConfusionMetric, name="Dice"):
    """Dice coefficient, 2·tp / (2·tp + fp + fn): the F-measure with β = 1."""

    def of(self, tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
        """See the class."""
        return ratio(2 * tp, 2 * tp + fp + fn)


@METRICS.register("precision")
class Precision(ConfusionMetric, name="Precision"):
    """tp / (tp + fp)."""

    def of(self, tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
        """See the class."""
        return ratio(tp, tp + fp)


@METRICS.register("recall")
class Recall(ConfusionMetric, name="Recall", kinds=("mean", "adp", "bin")):
    """Recall, or sensitivity, tp / (tp + fn). It has no maximum worth a column: at threshold 0 it is 1."""

    def of(self, tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
        """See the class."""
        return ratio(tp, tp + fn)


@METRICS.register("specificity")
class Specificity(ConfusionMetric, name="Specificity", kinds=("mean", "adp", "bin")):
    """tn / (tn + fp). It rises with the threshold: its maximum would be the value at the last one."""

    def of(self, tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
        """See the class."""
        return ratio(tn, tn + fp)


@METRICS.register("BER")
class BalancedErrorRate(ConfusionMetric, name="BER", kinds=("min", "mean", "adp", "bin")):
    """Balanced error rate, 1 - (recall + specificity) / 2; an error, so that of the thresholds the smallest is best."""

    smaller = True

    def of(self, tp: np.ndarray, fp: np.ndarray, tn: np.ndarray, fn: np.ndarray) -> np.ndarray:
        """See the class."""
        return 1 - 0.5 * (ratio(tp, tp + fn) + ratio(tn, tn + fp))
