"""Attenders: from features to features, across steps."""

from vibrissa.models.attender.gpt import GPT as GPT
from vibrissa.models.attender.gpt import GPT256 as GPT256
from vibrissa.models.attender.gpt import GPTPlain as GPTPlain
from vibrissa.models.attender.gpt import SelfAttention as SelfAttention
from vibrissa.models.attender.none import NoAttender as NoAttender
from vibrissa.models.attender.sequence import S4 as S4
from vibrissa.models.attender.sequence import Mamba as Mamba
