"""Section `method`: what is optimised. docs/methods.md helps to choose."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Auto, Many, Section
from schemas.model import Source
from schemas.track import Address, KeyFile

RowKind = Literal["text", "pair", "labelled"]
"""What a prepared row is: docs/decisions/007."""

LossOn = Literal["assistant", "last", "all", "weight"]
"""Which tokens of a conversation are marked in the shards."""

PairLoss = Literal[
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down",
    "discopop", "sft", "sigmoid_norm",
]  # fmt: skip
"""TRL's `DPOConfig.loss_type`."""

SMOOTHED: tuple[PairLoss, ...] = ("exo_pair", "robust", "aot", "aot_unpaired")
"""Losses that read label_smoothing."""

DIVERGENT: tuple[PairLoss, ...] = ("sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft")
"""Losses of the difference of the two rewards: only in them the partition function of f-DPO cancels."""


def check_served_name(value: str) -> str:
    """Return what a server calls a model unchanged or say what is wrong with it."""
    if not value or not value.isprintable() or " " in value or len(value) > 300:
        raise PydanticCustomError("served_name", "must be what the server calls its model, up to 300 characters without blanks, such as ORG/NAME")
    return value


ServedName = Annotated[str, AfterValidator(check_served_name)]


class Sft(Section):
    """Supervised fine-tuning on conversations."""

    rows: ClassVar[RowKind] = "text"

    kind: Literal["sft"]
    """sft: the answers of conversations are learned."""

    loss_on: LossOn = "assistant"
    """Which tokens are learned: the assistant's turns with their end-of-turn token, the last of them, every token, or the assistant's turns but those whose
    message has `weight: 0`."""


class Pretrain(Section):
    """Continued pre-training on text."""

    rows: ClassVar[RowKind] = "text"
    loss_on: ClassVar[LossOn] = "all"

    kind: Literal["pretrain"]
    """pretrain: every token of plain text is learned."""


class Pairs(Section):
    """What methods over pairs share: the answer's tokens are marked, prompts are not."""

    rows: ClassVar[RowKind] = "pair"
    loss_on: ClassVar[LossOn] = "assistant"


class Dpo(Pairs):
    """Direct preference optimisation: chosen answers become likelier than rejected ones, measured from where the model started."""

    kind: Literal["dpo"]
    """dpo: pairs of answers, compared with what the model said before."""

    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """How strongly the model is held to where it started: a larger value, a smaller step."""

    loss: Annotated[Many[PairLoss], Field(min_length=1)] = ("sigmoid",)
    """One loss, or several that are added up; sigmoid is that of the DPO paper."""

    weights: Auto[Many[Annotated[float, Field(gt=0, le=100)]]] = None
    """Weight of each loss, in the same order. auto: 1 for each."""

    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of pairs that are expected to be the wrong way round; for the losses exo_pair, robust, aot and aot_unpaired."""

    divergence: Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"] = "reverse_kl"
    """How the distance to the start is measured (f-DPO); others than reverse_kl go with losses of a difference of rewards."""

    divergence_alpha: Auto[Annotated[float, Field(gt=0, lt=1)]] = None
    """Of alpha_divergence. auto: 0.5."""

    @model_validator(mode="after")
    def _go_together(self) -> "Dpo":
        if len(set(self.loss)) < len(self.loss):
            raise PydanticCustomError("method", "a loss is named twice", {"fix": "name each once and give it a weight"})
        if self.weights is not None and len(self.weights) != len(self.loss):
            counted = {"weights": len(self.weights), "losses": len(self.loss), "fix": "write one weight for each entry of `loss`, in the same order"}
            raise PydanticCustomError("method", "weights has {weights} entries, loss has {losses}", counted)
        if self.label_smoothing and not set(self.loss) & set(SMOOTHED):
            fix = f"take label_smoothing out, or use loss: [robust]; it is read by {', '.join(SMOOTHED)}"
            raise PydanticCustomError("method", "label_smoothing is not read by loss {loss}", {"loss": ", ".join(self.loss), "fix": fix})
        if "exo_pair" in self.loss and not self.label_smoothing:
            raise PydanticCustomError("method", "exo_pair needs label_smoothing above 0", {"fix": "write label_smoothing: 0.001, the EXO paper's value"})
        if self.divergence != "reverse_kl" and (others := sorted(set(self.loss) - set(DIVERGENT))):
            fix = f"use divergence: reverse_kl, or losses of {', '.join(DIVERGENT)}"
            raise PydanticCustomError("method", "divergence {name} does not go with loss {loss}", {"name": self.divergence, "loss": others[0], "fix": fix})
        if self.divergence_alpha is not None and self.divergence != "alpha_divergence":
            fix = "take it out, or write divergence: alpha_divergence"
            raise PydanticCustomError("method", "divergence_alpha belongs to divergence: alpha_divergence", {"fix": fix})
        return self


class Ipo(Pairs):
    """Identity preference optimisation: DPO whose loss aims at a fixed margin, which keeps it from running away on clear-cut pairs."""

    kind: Literal["ipo"]
    """ipo: as dpo with loss: [ipo]."""

    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """The paper's tau: the margin per token that is aimed at is 1 / (2 beta)."""


class Alone(Pairs):
    """Pairs without a reference model."""

    @model_validator(mode="before")
    @classmethod
    def _has_none(cls, given: Any) -> Any:
        if isinstance(given, dict) and (named := sorted({"reference", "ref_model", "reference_model"} & set(given))):
            fix = f"take {named[0]} out, or use kind: dpo, whose reference is the base model"
            raise PydanticCustomError("method", "{kind} compares with no reference model", {"kind": str(given.get("kind")), "fix": fix})
        return given


class Orpo(Alone):
    """Odds ratio preference optimisation: fine-tuning on the chosen answers and their odds against the rejected ones, in one stage."""

    kind: Literal["orpo"]
    """orpo: pairs, from a base model in one stage, with no reference model."""

    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Weight of the odds ratio beside the likelihood of the chosen answers; the paper's lambda."""


class Simpo(Alone):
    """Simple preference optimisation: the mean log-probability of a token is the reward, so that long answers win nothing."""

    kind: Literal["simpo"]
    """simpo: pairs, rewards per token, with no reference model."""

    beta: Annotated[float, Field(gt=0, le=100)] = 2.0
    """Scale of the reward; the paper uses 2 to 10."""

    gamma: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Margin that the chosen answer's reward is to have; the paper uses about half of beta."""

    chosen_weight: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Weight of the likelihood of the chosen answers beside it; 0 is SimPO, more is CPO-SimPO."""


class Cpo(Alone):
    """Contrastive preference optimisation: DPO without its reference, held by the likelihood of the chosen answers."""

    kind: Literal["cpo"]
    """cpo: pairs of good and better answers, with no reference model."""

    loss: Literal["sigmoid", "hinge", "ipo"] = "sigmoid"
    """How the two answers are compared."""

    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Scale of the difference between the two answers."""

    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of pairs that are expected to be the wrong way round; for the loss sigmoid."""

    chosen_weight: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Weight of the likelihood of the chosen answers beside it."""

    @model_validator(mode="after")
    def _go_together(self) -> "Cpo":
        if self.label_smoothing and self.loss != "sigmoid":
            fix = "take label_smoothing out, or use loss: sigmoid"
            raise PydanticCustomError("method", "label_smoothing is not read by loss {loss}", {"loss": self.loss, "fix": fix})
        return self


class Kto(Section):
    """Kahneman-Tversky optimisation: single answers with a thumb up or down, compared with what the model said before."""

    rows: ClassVar[RowKind] = "labelled"
    loss_on: ClassVar[LossOn] = "assistant"

    kind: Literal["kto"]
    """kto: single answers, each wanted or not."""

    loss: Literal["kto", "apo_zero_unpaired"] = "kto"
    """kto measures from an estimate of how far the model has moved; apo_zero_unpaired from zero, without that estimate's second pass."""

    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """How strongly the model is held to where it started."""

    desirable_weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Weight of wanted answers; the paper wants weight x number to be 1 to 1.33 times that of the unwanted ones."""

    undesirable_weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Weight of unwanted answers."""


class Reward(Pairs):
    """A reward model: a head on the model gives one number to an answer, higher for the chosen one of a pair."""

    kind: Literal["reward"]
    """reward: pairs, for a model that judges answers instead of writing them."""

    center: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Weight of a term that keeps rewards around zero; 0.01 is usual, 0 leaves it out."""


class Distil(Section):
    """Distillation: the model learns the whole distribution that a larger one, the teacher, gives each token of the rows."""

    rows: ClassVar[RowKind] = "text"

    kind: Literal["distil"]
    """distil: conversations, and a teacher whose every guess is learned and not only the token that stands there."""

    teacher: Auto[Source] = None
    """The larger model, over the same vocabulary: hf://ORG/NAME[@REVISION], ms://ORG/NAME[@REVISION], a folder, or a .gguf file. auto: none, the
    teacher is at the endpoint."""

    endpoint: Auto[Address] = None
    """A server that has the teacher, such as http://host:8000/v1, in place of `teacher`: prepare asks it once for each row, training needs no network.
    auto: none, the teacher is fetched."""

    teacher_name: Auto[ServedName] = None
    """What the endpoint calls its model. auto: none, there is no endpoint."""

    top_k: Auto[Annotated[int, Field(ge=1, le=100_000)]] = None
    """Of an endpoint: how many of the teacher's likeliest tokens are asked for at each place; the others count as one. auto: 20, the most that vLLM gives
    unless it is told otherwise."""

    key_file: Auto[KeyFile] = None
    """Of an endpoint: the file with its API key; an endpoint without a key needs none. auto: /run/secrets/teacher_key."""

    requests: Auto[Annotated[int, Field(ge=1, le=1024)]] = None
    """Of an endpoint: how many rows are asked at once. auto: 16."""

    beta: Auto[Annotated[float, Field(ge=0, le=1)]] = None
    """Which divergence: 0 is the forward KL, which covers all that the teacher does, 1 the reverse KL, which keeps to what it does most, between them the generalised Jensen-Shannon one. auto: 0.5; of an endpoint 0, as the others need all of its guesses."""

    loss_on: LossOn = "assistant"
    """Which tokens are learned: the assistant's turns with their end-of-turn token, or every token."""

    @model_validator(mode="after")
    def _go_together(self) -> "Distil":
        if (self.teacher is None) == (self.endpoint is None):
            fix = "write teacher: SOURCE for a model that is fetched, or endpoint: URL with teacher_name for one that a server has"
            raise PydanticCustomError("method", "distil needs a teacher or an endpoint" + (", not both" if self.teacher else ""), {"fix": fix})
        if self.endpoint is None:
            for name in OF_ENDPOINT:
                if getattr(self, name) is not None:
                    raise PydanticCustomError("method", "{name} belongs to an endpoint", {"name": name, "fix": "take it out, or write endpoint: URL"})
            return self
        if self.teacher_name is None:
            raise PydanticCustomError("method", "an endpoint needs teacher_name", {"fix": "write what the server calls its model: GET URL/models lists it"})
        if self.beta:
            told = {"beta": f"{self.beta:g}", "fix": "take beta out: it is 0 there, the forward KL; or name the teacher by its source"}
            raise PydanticCustomError("method", "beta {beta} needs all of the teacher's guesses, an endpoint gives its likeliest", told)
        return self


OF_ENDPOINT = ("teacher_name", "top_k", "key_file", "requests")
"""Fields of Distil that a teacher by its source does not read."""


Method = Annotated[Sft | Pretrain | Dpo | Ipo | Orpo | Simpo | Cpo | Kto | Reward | Distil, Discriminator("kind")]


def has_reference(method: Any) -> bool:
    """Whether a method compares with the model as it was before the training."""
    return isinstance(method, Dpo | Ipo | Kto)


def teacher_of(method: Any) -> str | None:
    """The source of a second model that a method wants."""
    return method.teacher if isinstance(method, Distil) else None
