"""The assigner that is asked after passes."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vintk_jax.adaptive import policies
from vintk_jax.adaptive.answers import Answers, features_of
from vintk_jax.adaptive.assigner import Assigner, Chances, Stage
from vintk_jax.adaptive.policies import Outcomes
from vintk_jax.inference.plan import DONE, Plan, Step
from vintk_jax.inference.plans import Plans
from vintk_jax.multiply_adds import multiply_adds


class FeatureAssigner(Assigner):
    """Reads what the passes know of the image; their answers stand where they suffice."""

    def num_stages(self, again: bool) -> int:
        """After every pass but the longest's, or after the first only."""
        return len(self.costs) - 1 if again else 1

    def inputs(self, answers: Answers, stage: int) -> np.ndarray:
        """Features of the pass before the stage."""
        return answers.features[:, stage]

    @property
    def first_lengths(self) -> tuple[int, ...]:
        """Every length with a stage, and the longest: from there nobody is asked, so that no budget
        is out of reach.
        """
        return (*range(len(self.params)), len(self.costs) - 1)

    def outcomes(
        self, answers: Answers, chances: Chances, price: int | float, start: int = 0
    ) -> Outcomes:
        """Each image on from length to length while the assigner says so."""

        def decide(at, known):
            if at >= chances.shape[1]:
                return policies.stay(at, known)
            return policies.by_price(chances[:, at], self.costs, price, at)

        first = np.full(len(chances), start)
        return policies.simulate(answers.probabilities, first, decide, self.earlier_weight)

    def plan(self, plans: Plans) -> Plan:
        """A stage after each pass that has one; the longer lengths answer alone."""
        steps = [self._step(plans, number) for number in range(len(self.params))]
        for number in range(len(self.params), len(plans.names)):
            steps.append(plans.last_step(number, self._weight_at(number)))

        def first(places):
            return np.full(len(places), self.start)

        return Plan(steps, first)

    def _weight_at(self, number: int) -> float:
        return self.earlier_weight if number > self.start else 0.0

    def _step(self, plans: Plans, number: int) -> Step:
        """A pass at a length, and the assigner's stage after it."""
        length = plans.lengths[number]
        pass_and_stage = self._pass_and_stage(plans, number)

        def of_batch(variables, params, price, *inputs):
            def run(inputs):
                return pass_and_stage(variables, params, price, *inputs)

            return length.in_pieces(run, inputs)

        # Whatever the budget: its price is an argument.
        program = plans.program(("stage", number, *self.program_key), of_batch)
        variables = length.variables
        params = self.params[number]

        def run(*inputs):
            return program(variables, params, self.price, *inputs)

        def follow(outputs):
            return np.where(outputs[1] == number, DONE, outputs[1])

        return Step(
            plans.names[number],
            run,
            follow,
            self._weight_at(number),
            plans.carries(number),
            plans.takes(number),
        )

    def _pass_and_stage(self, plans: Plans, number: int) -> Callable:
        """A function (the length's variables, params, price, images[, carried]) -> probabilities,
        the number of the length to go on to[, carried].
        """

        def run(variables, params, price, *inputs):
            probabilities, tokens = plans.lengths[number].own_pass(variables, *inputs)
            chosen = self.choose(params, price, features_of(probabilities, tokens), number)
            return (probabilities, chosen, *([tokens] if plans.carries(number) else []))

        return run

    def multiply_adds(self, plans: Plans) -> int:
        """Of features and the network: a pass with its stage, less the pass."""
        both = multiply_adds(
            self._pass_and_stage(plans, 0),
            plans.lengths[0].variables,
            self.params[0],
            0.0,
            plans.image,
        )
        return both - plans.multiply_adds[plans.names[0]]

    def paid(self, plans: Plans) -> tuple[float, Float[np.ndarray, " lengths"]]:
        """Nothing ahead of the first pass."""
        has_stage = np.arange(len(plans.paid)) < len(self.params)
        return 0.0, plans.paid + self.multiply_adds(plans) * has_stage

    def _passes(self, plans: Plans) -> Float[np.ndarray, " lengths"]:
        return plans.paid

    def paid_by_step(self, plans: Plans) -> tuple[float, ...]:
        """Each length, with its stage."""
        return tuple(self.paid(plans)[1])

    def stages(self) -> list[Stage]:
        """One after each pass that has one, on features."""
        price = jnp.float32(self.price)

        def choose_at(number: int) -> Callable:
            def choose(params, features):
                return (self.choose(params, price, features, number),)

            return choose

        return [
            Stage(f"assigner-{number}", choose_at(number), params, number)
            for number, params in enumerate(self.params)
        ]
