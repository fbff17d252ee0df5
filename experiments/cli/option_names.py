"""The library's errors name its arguments, whoever typed a command knows its options: the one becomes the other."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

ALIASES = {
    "y_true": "--truth",
    "truth": "--truth",
    "id list": "--ids",
    "label list": "--labels",
    "file of groups": "--groups",
    "random_state": "--seed",
    "n_splits": "--folds",
    "member_costs": "--member-cost",
    "method": "--methods",  # of `compare`, where there is no --method
    "rule": "--rules",
}
"""Arguments, and what errors call them, whose option has another name; it counts only where the command has it."""
_ARGUMENT = r"(?:\w+=|it|\w+_\w+)"
_OPTION = "--[a-z][a-z-]*"
_GIVEN_AS = re.compile(rf"\b(?:{_ARGUMENT}(?:, | and | or ))*{_ARGUMENT} \(({_OPTION}(?:, {_OPTION})*)\)")
_QUOTED = re.compile(r"('[^']*'|\"[^\"]*\"|`[^`]*`)")


@dataclass(frozen=True)
class Typed:
    """What a person typed.

    Attributes
    ----------
    options : mapping of str to str
        The option of each parameter of the command.
    values : mapping of str to list of str
        The texts and numbers that were given to each option, as errors write them.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, context: Any) -> "Typed":
        """Read a command's context.

        Parameters
        ----------
        context : typer.Context
            Of a command whose parameters are read.

        Returns
        -------
        Typed
            Its options.
        """
        options = {
            parameter.name: max(parameter.opts, key=len)
            for parameter in context.command.params
            if parameter.param_type_name == "option" and parameter.name
        }
        values: dict[str, list[str]] = {}
        for name, option in options.items():
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                given = context.params.get(name)
                words = given if isinstance(given, list) else [given]
                values[option] = [repr(word) for word in words if type(word) in (str, int, float)]
        return cls(options, values)


_NOTHING = Typed()
_typed: ContextVar[Typed] = ContextVar("typed", default=_NOTHING)
"""What the command that runs was given."""


@contextmanager
def named_by(typed: Typed) -> Iterator[None]:
    """Let errors and warnings name the options of a command while it runs.

    Parameters
    ----------
    typed : Typed
        Of that command.

    Yields
    ------
    None
        Nothing; the command runs inside.
    """
    token = _typed.set(typed)
    try:
        yield
    finally:
        _typed.reset(token)


def say_options(sentence: str, typed: Typed | None = None) -> str:
    """Name the options in a sentence of the library's, where it names arguments.

    Parameters
    ----------
    sentence : str
        An error or a warning.
    typed : Typed, optional
        By default that of the command that runs.

    Returns
    -------
    str
        The sentence for whoever typed the command.

    Examples
    --------
    >>> typed = Typed({"time_limit": "--time-limit", "truth": "--truth"})
    >>> say_options("time_limit must be a number of seconds or None: got -1.0.", typed)
    '--time-limit must be a number of seconds or None: got -1.0.'
    >>> say_options("y_true (--truth) must be given, or predictions that carry it.", typed)
    '--truth must be given, or predictions that carry it.'
    >>> say_options("models must be among the set's 2: got 'vti'.", Typed({}, {"--only": ["'vti'"]}))
    "--only: models must be among the set's 2: got 'vti'."
    """
    typed = _typed.get() if typed is None else typed
    known = set(typed.options.values())
    sentence = _GIVEN_AS.sub(lambda found: " and ".join(found[1].split(", ")), sentence)
    given = [option for option, values in typed.values.items() if any(_is_named(one, sentence) for one in values)]
    names = {name: option for name, option in ALIASES.items() if option in known} | dict(typed.options)
    if found := re.match(rf"(?:the )?({'|'.join(sorted(names, key=len, reverse=True))})(?= must| \(or )", sentence):
        option = names[found[1]]  # of several that set the like, the one that was typed
        sentence = (option if option in given or len(given) != 1 else given[0]) + sentence[found.end() :]
    parts = _QUOTED.split(sentence)
    for name, option in names.items():
        if "_" in name:  # no word of English
            parts[::2] = [re.sub(rf"\b{name}\b(?![.(])=?", option, part) for part in parts[::2]]
    sentence = "".join(parts)
    if len(given) == 1 and not any(re.search(rf"{option}(?![-\w])", sentence) for option in known):
        return f"{given[0]}: {sentence}"
    return sentence


def _is_named(value: str, sentence: str) -> bool:
    """Tell whether a sentence says that it got a value."""
    return re.search(rf"(?<![\w.]){re.escape(value)}(?![\w])", sentence) is not None
