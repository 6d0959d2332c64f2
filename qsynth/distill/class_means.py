"""What rules have that send more than statistics: class means, by which packets are routed."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.distill.analytic import Analytic, DistillRule
from qsynth.schema import option, setting


@option("distill")
@dataclass(frozen=True)
class ClassMeans(DistillRule):
    """A rule whose packets carry class means of few features beside what it sends."""

    route_d: int = setting(20, "features of the class means that route a packet", low=4, high=64)

    def statistics(self) -> Analytic:
        """Return how packets carry class statistics: 4-bit means."""
        return Analytic(
            d=self.route_d,
            coding="means",
            min_support=self.min_support,
            max_bytes=self.max_bytes,
            ttl_s=self.ttl_s,
        )
