"""From the plain notation of docstrings to LaTeX: `w <- w - lr m' / (sqrt(v') + eps)` is a fraction under a root.

The notation is what people type into a mail. Factors stand side by side; ` / ` with spaces divides all factors before it by
the next one, `a/b` without spaces the last factor alone; `b1` and `x_i` have subscripts, `sum_(i < j)` and `a^(-1)` longer
ones; `<-` assigns, `*` multiplies elementwise; `|x|`, `||x||` and `<x, y>` are absolute value, norm and inner product, but
` | ` and ` || ` with spaces are the bars of p(y | x) and KL(p || q); names of several letters are upright words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GREEK = {
    "alpha", "beta", "gamma", "delta", "zeta", "eta", "theta", "kappa", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "phi",
    "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Sigma", "Phi", "Psi", "Omega",
}  # fmt: skip
RENAMED = {"eps": r"\varepsilon", "lam": r"\lambda", "lambda": r"\lambda"}
FUNCTIONS = {"max", "min", "exp", "log", "ln", "cos", "sin", "tan", "arg"}  # that LaTeX has
OPERATORS = {"sign", "sigmoid", "softmax", "diag", "Var", "Cov", "KL", "round", "median", "clip", "relu", "norm"}
CAPITALS = {"N": r"\mathcal{N}", "U": r"\mathcal{U}", "E": r"\mathbb{E}"}  # distributions, expectation: N(, U(, E[
JOINING = {"with", "for", "if", "where", "and", "or", "over", "of", "in"}
SIGNS = {
    "<-": r"\leftarrow", "->": r"\to", "<=": r"\le", ">=": r"\ge", "!=": r"\ne", "+-": r"\pm", "*": r"\odot", "~": r"\sim",
    "=": "=", "<": "<", ">": ">", "+": "+", "-": "-", ",": ",", ":": r"\colon", "||": r"\,\|\,", "|": r"\mid",
}  # fmt: skip
RELATIONS = ("<-", "=", "~", "->")  # what the lines of one formula are aligned at
BRACKETS = {"(": (")", r"\left(", r"\right)"), "[": ("]", r"\left[", r"\right]"), "{": ("}", r"\left\{", r"\right\}")}
FENCES = {"||": ("||", r"\left\|", r"\right\|"), "|": ("|", r"\left|", r"\right|"),
          "<": (">", r"\left\langle", r"\right\rangle")}  # fmt: skip
TOKEN = re.compile(
    r"(?P<number>\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?)|(?P<name>[A-Za-z]+\d*(?:_[A-Za-z0-9]+)*)"
    r"|(?P<sign>\.\.\.|<-|->|<=|>=|!=|\+-|\|\||[-+*/~=<>,:|()\[\]{}^_'])"
)


@dataclass(frozen=True)
class Token:
    """A piece of the plain text, and whether blanks stand around it."""

    text: str
    kind: str
    before: bool
    after: bool


@dataclass(frozen=True)
class Factor:
    """A piece of LaTeX that multiplies its neighbours."""

    latex: str
    inner: str = ""  # of a group in round brackets: without them
    word: bool = False
    bare: bool = False  # needs no brackets beside others: it is a fraction


def latex(formula: str) -> str:
    """A formula of one line or, with `;` between them, of several that are aligned at their first relation.

    Raises:
        ValueError: a character or a bracket that the notation does not have.
    """
    lines = [line for line in re.split(r";\s*", " ".join(formula.split())) if line]
    if len(lines) < 2:
        return _Reader(formula).all(align="")
    return r"\begin{aligned}" + r" \\ ".join(_Reader(line).all(align="&") for line in lines) + r"\end{aligned}"


class _Reader:
    """Recursive descent over the tokens of one line."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.tokens = text, 0, []
        place = 0
        while place < len(text):
            if text[place].isspace():
                place += 1
            elif found := TOKEN.match(text, place):
                ends = found.end() == len(text) or text[found.end()].isspace()
                starts = place == 0 or text[place - 1].isspace()
                self.tokens.append(Token(found[0], str(found.lastgroup), starts, ends))
                place = found.end()
            else:
                raise ValueError(f"{text[place]!r} is not in the notation of formulas: {text}")

    def all(self, align: str) -> str:
        """The whole line; `align` is put before its first relation."""
        done, _ = self.expression("", align)
        if self.at < len(self.tokens):
            raise ValueError(f"{self.tokens[self.at].text!r} closes nothing: {self.text}")
        return done

    def expression(self, close: str, align: str = "") -> tuple[str, bool]:
        """Terms and signs, up to the bracket that closes them; and whether they are nothing but one fraction."""
        done: list[str] = []
        factors: list[Factor] = []
        while self.at < len(self.tokens) and not self._closes(token := self.tokens[self.at], close):
            if token.text == "/":
                self.at += 1
                over = factors if token.before else factors[-1:]
                factors = [*factors[: len(factors) - len(over)], _fraction(over, self.factor())]
            elif token.text in JOINING:
                self.at += 1
                done += [_product(factors), rf"\;\text{{{token.text}}}\;"]
                factors = []
            elif token.text in SIGNS and not self._opens(token):
                self.at += 1
                mark, align = (align, "") if token.text in RELATIONS else ("", align)
                room = r"\;" if token.text == "," and not close else ""
                done += [_product(factors), mark + SIGNS[token.text] + room]
                factors = []
            else:
                factors.append(self.factor())
        alone = not done and len(factors) == 1 and factors[0].latex.startswith(r"\frac")
        return " ".join(filter(None, [*done, _product(factors)])), alone

    def factor(self) -> Factor:
        """A number, a name, a group or a call, with what is written above and below it."""
        if self.at == len(self.tokens):
            raise ValueError(f"something is missing at the end: {self.text}")
        token = self.tokens[self.at]
        self.at += 1
        if token.kind == "number":
            made = Factor(_number(token.text))
        elif token.kind == "name":
            made = self._name(token)
        elif token.text == "...":
            made = Factor(r"\ldots")
        elif token.text in BRACKETS or token.text in FENCES:
            made = self._group(token.text)
        else:
            raise ValueError(f"{token.text!r} stands where a factor should: {self.text}")
        return self._scripts(made)

    def _name(self, token: Token) -> Factor:
        called = not token.after and self._next() in ("(", "[")
        if token.text in ("sqrt", "floor"):
            argument = self._group(self._take()) if called else self.factor()  # `sqrt n` needs no brackets
            inner = argument.inner or argument.latex
            return Factor(rf"\sqrt{{{inner}}}" if token.text == "sqrt" else rf"\lfloor {inner} \rfloor")
        made = _symbol(token.text, called)
        return Factor(made.latex + self._group(self._take()).latex) if called else made

    def _group(self, bracket: str) -> Factor:
        """What stands in brackets, whose opening one was read (of a call: is read here)."""
        if self._next() == bracket and self.tokens[self.at - 1].kind == "name":
            self.at += 1
        close, left, right = (BRACKETS | FENCES)[bracket]
        inner, fraction = self.expression(close)
        if self._next() != close:
            raise ValueError(f"{bracket} is not closed: {self.text}")
        self.at += 1
        return Factor(f"{left} {inner} {right}", inner if bracket == "(" else "", bare=fraction and bracket == "(")

    def _scripts(self, made: Factor) -> Factor:
        """Primes, powers and subscripts in brackets after a factor."""
        above, below, primes = "", "", ""
        while self.at < len(self.tokens) and self._next() in ("'", "^", "_") and not self.tokens[self.at].before:
            mark = self._take()
            if mark == "'":
                primes += "'"
                continue
            sign = self._take() if self._next() == "-" else ""
            script = self.factor()
            if mark == "^":
                above += sign + (script.inner or script.latex)
            else:
                below += script.inner or script.latex
        latex_ = made.latex + (f"_{{{below}}}" if below else "") + primes + (f"^{{{above}}}" if above else "")
        return made if latex_ == made.latex else Factor(latex_, word=made.word)

    def _next(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def _take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1].text

    def _opens(self, token: Token) -> bool:
        """Whether a bar or an angle begins a group: nothing but a blank (or a bracket) before it, something right after."""
        return token.text in FENCES and not token.after

    def _closes(self, token: Token, close: str) -> bool:
        if token.text in (")", "]", "}"):
            return True
        return token.text == close and not (token.before and token.after)


def _number(text: str) -> str:
    """`54,000`, and `1e-4` as a power of ten."""
    digits, _, power = text.replace(",", "{,}").partition("e")
    return rf"{digits} \cdot 10^{{{power}}}".removeprefix(r"1 \cdot ") if power else digits


def _symbol(text: str, called: bool) -> Factor:
    """A name: `b1`, `x_i`, `eta_min`, `alpha`, `weight_decay`."""
    base, _, below = text.partition("_")
    letters = base.rstrip("0123456789")
    below = (base[len(letters) :] + (" " if below and letters != base else "") + below).strip()
    if called and text in CAPITALS:
        return Factor(CAPITALS[text])
    if letters in ("sum", "prod"):
        return Factor(rf"\{letters}" + (f"_{{{_word(below)}}}" if below else ""))
    if letters in FUNCTIONS and len(below) > 1:  # `min_delta` is a name
        return Factor(_word(text), word=True)
    if letters in GREEK or letters in RENAMED or letters in FUNCTIONS:
        made = RENAMED.get(letters, f"\\{letters}")
    elif letters in OPERATORS:
        made = rf"\operatorname{{{letters}}}"
    elif len(letters) == 1:
        made = letters
    else:
        return Factor(_word(text), word=True)
    return Factor(made + (f"_{{{_word(below)}}}" if below else ""))


def _word(text: str) -> str:
    """A subscript or a name: single letters and numbers are mathematics, `in` and `weight_decay` are words."""
    if text in GREEK:
        return f"\\{text}"
    short = len(text) == 1 or text.isdigit() or (len(set(text)) == 1 and len(text) == 2)
    return text if short else rf"\text{{{text}}}"


def _fraction(over: list[Factor], under: Factor) -> Factor:
    if not over:
        raise ValueError("a fraction without a numerator")
    top = over[0].inner or over[0].latex if len(over) == 1 else _product(over)
    return Factor(rf"\frac{{{top}}}{{{under.inner or under.latex}}}")


def _product(factors: list[Factor]) -> str:
    """Factors side by side, words with room around them."""
    made = ""
    for i, factor in enumerate(factors):
        wide = i and (factor.word or factors[i - 1].word)
        plain = factor.inner if factor.bare else factor.latex
        made += (r"\ " if wide and factor.word and factors[i - 1].word else r"\," if wide else " " if i else "") + plain
    return made
