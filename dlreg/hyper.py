"""The types of hyperparameters: a range stands once, in the signature that uses it, and is checked before any work."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Negative = Annotated[float, Field(lt=0)]
AtLeastOne = Annotated[float, Field(ge=1)]
Inside = Annotated[float, Field(gt=0, lt=1)]  # strictly between 0 and 1
Survival = Annotated[float, Field(gt=0, le=1)]  # probability of keeping
Fraction = Annotated[float, Field(ge=0, le=1)]
DropProb = Annotated[float, Field(ge=0, lt=1)]  # probability of dropping; 1 would drop everything
Decay = Annotated[float, Field(ge=0, lt=1)]  # weight of the past in a running average
MOST = 10**9  # more of anything is a slip of the pen
Count = Annotated[int, Field(ge=1, le=MOST)]
Natural = Annotated[int, Field(ge=0)]
Betas = Annotated[list[Decay], Field(min_length=2, max_length=2)]
Widths = list[Count]
Slant = Annotated[float, Field(ge=0, lt=90)]  # degrees
Interval = Annotated[list[Positive], Field(min_length=2, max_length=2)]  # [low, high]
