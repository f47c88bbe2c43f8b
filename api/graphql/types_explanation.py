"""Why a diagnosis is what it is, as GraphQL types. Fields are stored; `of` fills them from schema/verdicts.py."""

from __future__ import annotations

import strawberry

from api.graphql.scalars import Instant, instant
from api.graphql.types_verdicts import CauseProbability
from schema import verdicts


@strawberry.type(description="A defect of an entity.")
class Cause:
    entity: strawberry.ID
    defect: str

    @classmethod
    def of(cls, cause: verdicts.DefectRef) -> Cause:
        """From the verdict."""
        return cls(entity=strawberry.ID(f"{cause.entity}"), defect=cause.defect)


@strawberry.type(description="What a finding changes in a log-odds, once those before it are known.")
class Step:
    entity: strawberry.ID
    condition: str
    log_likelihood_ratio: float = strawberry.field(description="log P(observed | condition holds) - log P(observed | it does not): below 0 it was not seen.")
    observed: str = strawberry.field(description="What was seen, in words.")
    change: float

    @classmethod
    def of(cls, step: verdicts.Step) -> Step:
        """From the verdict."""
        finding = step.finding
        return cls(
            entity=strawberry.ID(f"{finding.condition.entity}"),
            condition=finding.condition.condition,
            log_likelihood_ratio=float(finding.log_likelihood_ratio),
            observed=finding.observed,
            change=float(step.change),
        )


@strawberry.type(description="How a log-odds came about: before + the changes of the steps + rest = after.")
class Account:
    before: float
    steps: list[Step] = strawberry.field(description="From the finding causally nearest on.")
    others: int = strawberry.field(description="How many findings are not listed.")
    rest: float = strawberry.field(description="What they, and what lies beyond the part that was solved together, change in all.")
    after: float

    @classmethod
    def of(cls, account: verdicts.Account) -> Account:
        """From the verdict."""
        steps = [Step.of(step) for step in account.steps]
        return cls(before=float(account.before), steps=steps, others=account.others, rest=float(account.rest), after=float(account.after))


@strawberry.type(description="A link of a causal path: the condition that follows.")
class Hop:
    entity: strawberry.ID
    condition: str
    relation: str = strawberry.field(description="The relation it travels; empty within an entity.")
    strength: float


@strawberry.type(description="The strongest way from a defect to a symptom, the condition of its last hop.")
class CausalPath:
    strength: float = strawberry.field(description="The product of its hops' strengths.")
    hops: list[Hop]

    @classmethod
    def of(cls, path: verdicts.CausalPath) -> CausalPath:
        """From the verdict."""
        hops = [
            Hop(entity=strawberry.ID(f"{hop.condition.entity}"), condition=hop.condition.condition, relation=hop.relation, strength=float(hop.strength))
            for hop in path.hops
        ]
        return cls(strength=float(path.strength), hops=hops)


@strawberry.type(description="Why a root cause is believed.")
class CauseExplanation:
    entity: strawberry.ID
    defect: str
    account: Account = strawberry.field(description="Of its log-odds, from the prior to the posterior.")
    paths: list[CausalPath] = strawberry.field(description="The strongest first.")
    leader: Cause | None = strawberry.field(description="The likeliest cause; null for itself, and where the two share no findings.")
    behind: Account | None = strawberry.field(description="Of the difference of its log-odds to that of the leader: what is negative keeps it behind.")

    @classmethod
    def of(cls, explanation: verdicts.CauseExplanation) -> CauseExplanation:
        """From the verdict."""
        return cls(
            entity=strawberry.ID(f"{explanation.cause.entity}"),
            defect=explanation.cause.defect,
            account=Account.of(explanation.account),
            paths=[CausalPath.of(path) for path in explanation.paths],
            leader=None if explanation.leader is None else Cause.of(explanation.leader),
            behind=None if explanation.behind is None else Account.of(explanation.behind),
        )


@strawberry.type(description="A condition that nobody has seen or missed yet, and what its detector's word would be worth.")
class NextObservation:
    entity: strawberry.ID
    condition: str
    gain: float = strawberry.field(description="Bits of the leading causes' entropy that it is expected to take away.")
    probability: float = strawberry.field(description="That the detector shows the condition.")
    if_shown: CauseProbability = strawberry.field(description="The likeliest cause if it does.")
    if_not: CauseProbability = strawberry.field(description="The likeliest cause if it does not.")

    @classmethod
    def of(cls, found: verdicts.NextObservation) -> NextObservation:
        """From the verdict."""
        condition, if_shown, if_not = found.condition, _supposed(found.if_shown), _supposed(found.if_not)
        return cls(
            entity=strawberry.ID(f"{condition.entity}"),
            condition=condition.condition,
            gain=float(found.gain),
            probability=float(found.probability),
            if_shown=if_shown,
            if_not=if_not,
        )


@strawberry.type(description="Why the latest diagnosis is what it is.")
class Explanation:
    at: Instant | None = strawberry.field(description="The diagnosis' instant.")
    exact: bool = strawberry.field(description="False where probabilities were approximated.")
    causes: list[CauseExplanation] = strawberry.field(description="Of its first root causes, in the same order.")
    entropy: float = strawberry.field(description="Of the leading causes, in bits: how much is in doubt.")
    would_tell: list[NextObservation] = strawberry.field(description="What to look at next, by descending gain.")

    @classmethod
    def of(cls, explanation: verdicts.Explanation) -> Explanation:
        """From the verdict."""
        return cls(
            at=instant(explanation.at),
            exact=bool(explanation.exact),
            causes=[CauseExplanation.of(cause) for cause in explanation.causes],
            entropy=float(explanation.entropy),
            would_tell=[NextObservation.of(each) for each in explanation.would_tell],
        )


@strawberry.type(description="Defects that hold together, and no other one worth considering. Without any: nothing known explains what is seen.")
class CauseSet:
    probability: float = strawberry.field(description="Of exactly this set.")
    causes: list[Cause]


@strawberry.type(description="Joint explanations of what the latest diagnosis saw.")
class CauseSets:
    at: Instant | None = strawberry.field(description="The diagnosis' instant.")
    exact: bool = strawberry.field(description="False where probabilities were approximated, or the search was cut short.")
    sets: list[CauseSet] = strawberry.field(description="In descending probability.")

    @classmethod
    def of(cls, found: verdicts.CauseSets) -> CauseSets:
        """From the verdict."""
        sets = [CauseSet(probability=float(each.probability), causes=[Cause.of(cause) for cause in each.causes]) for each in found.sets]
        return cls(at=instant(found.at), exact=bool(found.exact), sets=sets)


def _supposed(verdict: verdicts.Verdict) -> CauseProbability:
    return CauseProbability(entity=strawberry.ID(f"{verdict.cause.entity}"), defect=verdict.cause.defect, probability=float(verdict.probability))
