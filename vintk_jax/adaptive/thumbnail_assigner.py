"""The assigner that is asked once, before any pass."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vintk_jax.adaptive import policies
from vintk_jax.adaptive.answers import Answers, thumbnails
from vintk_jax.adaptive.assigner import Assigner, Chances, Stage
from vintk_jax.adaptive.policies import Outcomes
from vintk_jax.inference.plan import Plan, Step
from vintk_jax.inference.plans import Plans
from vintk_jax.multiply_adds import multiply_adds


class ThumbnailAssigner(Assigner):
    """Reads a thumbnail of the image, once, before any pass."""

    def num_stages(self, again: bool) -> int:
        """One."""
        return 1

    def inputs(self, answers: Answers, stage: int) -> np.ndarray:
        """Thumbnails."""
        return answers.thumbnails

    @property
    def first_lengths(self) -> tuple[int, ...]:
        """One: it is asked before any pass."""
        return (0,)

    def outcomes(
        self, answers: Answers, chances: Chances, price: int | float, start: int = 0
    ) -> Outcomes:
        """Each image at the one length that it is given."""
        first = policies.by_price(chances[:, 0], self.costs, price, None)
        return policies.simulate(answers.probabilities, first, policies.stay, 0.0)

    def plan(self, plans: Plans) -> Plan:
        """The assigner as the first step, then one pass at the length that it chose."""

        def choose(params, price, images):
            return (self.choose(params, price, thumbnails(images, self.thumbnail), None),)

        program = plans.program(("choose", *self.program_key), choose)

        def run(images):
            return program(self.params[0], self.price, images)

        # The assigner itself is step 0.
        lengths, starts = plans.one_each(at=1)

        def follow(outputs):
            return starts[outputs[0]]

        return Plan([Step("", run, follow), *lengths])

    def multiply_adds(self, plans: Plans) -> int:
        """Of a thumbnail and the network."""

        def stage(params, image):
            return self.chances(params, thumbnails(image, self.thumbnail))

        return multiply_adds(stage, self.params[0], plans.image)

    def paid(self, plans: Plans) -> tuple[float, Float[np.ndarray, " lengths"]]:
        """The stage comes ahead of any pass."""
        return float(self.multiply_adds(plans)), plans.paid_alone

    def _passes(self, plans: Plans) -> Float[np.ndarray, " lengths"]:
        return plans.paid_alone

    def paid_by_step(self, plans: Plans) -> tuple[float, ...]:
        """The stage, then each length's steps."""
        return (float(self.multiply_adds(plans)), *plans.paid_one_each)

    def stages(self) -> list[Stage]:
        """One, on images."""
        price = jnp.float32(self.price)

        def choose(params, images):
            return (self.choose(params, price, thumbnails(images, self.thumbnail), None),)

        return [Stage("assigner", choose, self.params[0], None)]
