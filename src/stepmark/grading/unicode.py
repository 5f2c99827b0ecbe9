"""Unicode mathematics rewritten in ASCII LaTeX, so that one notation reaches the lexer."""

import re
import unicodedata

_REPLACED = r"""
− -   – -   — -   ‐ -   ‑ -   ‒ -   ﹣ -   － -   ∕ /   ⁄ /   × \times   ✕ \times   ⨯ \times   · \cdot
⋅ \cdot   ∙ \cdot   • \cdot   ÷ /   ∗ *   ′ '   ≤ \le   ⩽ \le   ≥ \ge   ⩾ \ge   ≠ \ne   ≈ \approx
≡ \equiv   ± \pm   ∓ \mp   ∣ |   ∞ \infty   ∪ \cup   ∩ \cap   ∈ \in   ∉ \notin   ∅ \emptyset   ∖ \setminus
⊂ \subset   ⊆ \subseteq   … \ldots   √ \sqrt   ∛ \sqrt[3]   ∑ \sum   ∏ \prod   ∫ \int   ∠ \angle
△ \triangle   ° ^{\circ}   º ^{\circ}   ％ %   ℝ \mathbb{R}   ℤ \mathbb{Z}   ℕ \mathbb{N}   ℚ \mathbb{Q}
ℂ \mathbb{C}   ⌊ \lfloor   ⌋ \rfloor   ⌈ \lceil   ⌉ \rceil   µ \mu   ½ \frac12   ⅓ \frac13   ⅔ \frac23
¼ \frac14   ¾ \frac34   ⅕ \frac15   ⅖ \frac25   ⅗ \frac35   ⅘ \frac45   ⅙ \frac16   ⅚ \frac56   ⅛ \frac18
⅜ \frac38   ⅝ \frac58   ⅞ \frac78   ⟨ \langle   ⟩ \rangle   ∧ and   ∨ or   ℯ e   “ "   ” "   ‘ '   ’ '
α \alpha   β \beta   γ \gamma   δ \delta   ε \epsilon   ζ \zeta   η \eta   θ \theta   ι \iota   κ \kappa
λ \lambda   ν \nu   ξ \xi   π \pi   ρ \rho   σ \sigma   τ \tau   υ \upsilon   φ \phi   χ \chi   ψ \psi
ω \omega   Γ \Gamma   Δ \Delta   Θ \Theta   Λ \Lambda   Ξ \Xi   Π \Pi   Σ \Sigma   Φ \Phi   Ψ \Psi
Ω \Omega   μ \mu   ϕ \phi   ∘ \circ   ⊥ \perp
"""
_PAIRS = _REPLACED.split()
_TABLE = str.maketrans(
    {
        character: ascii_ + " " if ascii_[-1].isalnum() else ascii_
        for character, ascii_ in zip(_PAIRS[::2], _PAIRS[1::2], strict=True)
    }
    | {"\u200b": "", "\ufeff": ""}
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ", "0123456789+-()n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙ", "0123456789+-()n")
_RAISED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ]+")
_LOWERED_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙ]+")


def to_ascii(text: str) -> str:
    """The text with raised and lowered digits as `^{}` and `_{}`, symbols as LaTeX, the rest by compatibility (NFKC).
    Full-width digits become digits, but a Cyrillic letter stays itself and equals no Latin one."""
    text = _RAISED_RUN.sub(lambda run: "^{" + run[0].translate(_RAISED) + "}", text)
    text = _LOWERED_RUN.sub(lambda run: "_{" + run[0].translate(_LOWERED) + "}", text)
    return unicodedata.normalize("NFKC", text.translate(_TABLE))
