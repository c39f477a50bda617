"""Words of general English by which a manner of writing is known.

Closed classes where possible; elsewhere the common words of the manner. What is counted, and
what it says about a taste, is in `signals` and `likelihoods`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True)
class Lexicon:
    """Words, lower case, by the manner of writing they belong to."""

    courtesy: frozenset[str]
    connectives: frozenset[str]
    colloquial: frozenset[str]
    warmth: frozenset[str]
    play: frozenset[str]
    business: frozenset[str]
    jargon: frozenset[str]

    def without(self, words: Iterable[str]) -> Lexicon:
        """A copy that does not know `words`."""
        gone = frozenset(words)
        return Lexicon(**{f.name: getattr(self, f.name) - gone for f in fields(self)})


# The grammatical words; no lexicon is complete without them and none is about taste.
PRONOUNS_OF_ADDRESS = _words("you your yours yourself we us our ours ourselves let's lets together")
MODALS_OF_COURTESY = _words("would should may might could shall must ought")
FUNCTION_WORDS = _words(
    "a an the and or but so if then than that this these those it its is are was were be been am "
    "do does did have has had will would can could should may might must to of in on at by for "
    "from with without as into out up off over about your you i me my we us our they them their "
    "he she his her not no yes what which who when where why how all each every some any more "
    "most less few one two three too very just only also there here before after while until"
)

ENGLISH = Lexicon(
    courtesy=_words(
        "kindly please sincerely sincere regards respectfully respectful grateful gratitude "
        "appreciate appreciated madam sir dear pleased permit honour honor cordially cordial "
        "humbly obliged attentive herewith hereby forthcoming gladly assistance inquiry enquiry "
        "request respected gracious courtesy faithfully esteem favour apologies apologise "
        "apologize pardon wish diligence service accept care attention satisfaction"
    ),
    connectives=_words(
        "therefore thus furthermore moreover accordingly regarding consequently nevertheless "
        "hence whereas concerning notwithstanding additionally subsequently upon wherein"
    ),
    colloquial=_words(
        "yeah yep yup nah nope hey ok okay gonna wanna gotta kinda sorta lemme dunno gimme cuz "
        "coz cause stuff thing thingy bunch super totally pretty basically anyway anyways dude "
        "man guys folks mate cool sweet yo whatever btw imo imho tbh idk thx ty pls plz u ur "
        "lol omg gist crap damn heck awesome ya sup chill nuts crazy screwed mess bit lots sure "
        "worries fine alright easy-peasy somehow kid kids dumb goofy meh ugh oops wow hmm huh"
    ),
    warmth=_words(
        "glad happy love loved lovely great wonderful awesome amazing hope enjoy cheers thanks "
        "thank welcome friend friends hug hugs proud sweet delighted delightful smile luck best "
        "fantastic brilliant beautiful excited exciting believe cheer sunny nice pleasure fun "
        "heart warm warmly joy celebrate congrats congratulations kudos yay hooray cosy cozy "
        "dearest darling bravo super perfect marvelous bless"
    ),
    play=_words(
        "joke joking kidding pun funny hilarious ridiculous absurd silly cat cats dog dogs duck "
        "ducks penguin llama goat hamster chicken squirrel unicorn dragon dinosaur monkey toaster "
        "sofa couch sock socks pants fridge pizza banana cheese potato pickle noodle cake cookie "
        "donut sandwich snack snacks taco grandma grandmother granny mother-in-law uncle aunt "
        "alien aliens zombie zombies ninja pirate wizard robot robots superhero apocalypse "
        "universe galaxy eternity million billion literally magic magical spell dance applause "
        "cape circus clown disaster doom glory hero heroic victory conspiracy mysteriously "
        "allegedly supposedly rumour rumor spoiler plot twist revenge drama naked sneaky"
    ),
    business=_words(
        "objective objectives priority priorities prioritise prioritize stakeholder stakeholders "
        "deadline deliverable deliverables recommend recommended recommendation recommendations "
        "ensure strategy strategic efficient efficiency effective effectively schedule budget "
        "review assess assessment evaluate evaluation implement process outcome outcomes "
        "resource resources allocate requirement requirements summary overview action plan team "
        "client clients customer professional standard standards consider considerations benefit "
        "manage management guideline guidelines quality value key essential essentials concise "
        "department meeting project report accordance compliance responsibility practice measure "
        "advise advisable advised required establish coordinate productivity performance policy"
    ),
    jargon=_words(
        "parameter parameters algorithm latency throughput coefficient gradient variable "
        "function protocol configuration compute computed threshold variance module mechanism "
        "kernel compile interface ratio voltage frequency component components constraint "
        "optimize optimise implementation architecture iterative precision calibrate "
        "specification specifications spec nominal technical technically tolerance syntax cache "
        "thread api cpu gpu ram sql regex json boolean integer float vector matrix derivative "
        "entropy enzyme isotope polymer substrate viscosity amplitude bandwidth firmware runtime "
        "compiler query schema deterministic stochastic empirically baseline metric metrics"
    ),
)
