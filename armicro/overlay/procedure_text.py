"""The words of the calibration window, as rich text in the theme's colours."""

from html import escape

from armicro.calibrate.account import Line
from armicro.calibrate.guide import Check, Guide
from armicro.overlay import theme


def way_text(guide: Guide) -> str:
    """All steps in one line each, with what became of them."""
    lines = []
    for index, step in enumerate(guide.steps):
        if step.name in guide.accepted:
            mark, shade = "●", theme.ACCENT
        elif index < guide.index:
            mark, shade = "–", theme.FAINT
        elif index == guide.index:
            mark, shade = "○", theme.TEXT
        else:
            mark, shade = "○", theme.FAINT
        words = guide.accepted[step.name].words if step.name in guide.accepted else ""
        rest = f" <span style='color:{theme.MUTED.name()}'>{words}</span>"
        here = f"<b>{step.title}</b>" if index == guide.index else step.title
        lines.append(f"<span style='color:{shade.name()}'>{mark} {here}</span>{rest}")
    return "<br>".join(lines)


def checks_text(checks: tuple[Check, ...]) -> str:
    """What is right of the field, and what to do about the rest."""
    rows = []
    for check in checks:
        shade = theme.ACCENT if check.ok else theme.WARN
        mark = "✓" if check.ok else "!"
        rows.append(
            f"<p style='margin:0 0 6px 0'><b style='color:{shade.name()}'>{mark} "
            f"{check.name}</b> <span style='color:{theme.MUTED.name()}'>{check.value}"
            "</span>" + (f"<br>{check.advice}" if check.advice else "") + "</p>"
        )
    return "".join(rows)


def table_text(lines: tuple[Line, ...]) -> str:
    """The certificate."""
    muted = theme.MUTED.name()
    return "".join(
        f"<p style='margin:0 0 8px 0'><b>{line.name}</b> {line.value}<br>"
        f"<span style='color:{muted}'>{line.how}</span></p>"
        if line.how
        else f"<p style='margin:0 0 8px 0; color:{muted}'>{line.name} {line.value}</p>"
        for line in lines
    )


def paragraph_text(text: str, shade: str) -> str:
    """One thing said, in a colour."""
    return f"<span style='color:{shade}'>{escape(text)}</span>"


def style_sheet() -> str:
    """The calibration window's colours and letters."""
    theme.font(14)
    return f"""
    QWidget {{ background: {theme.PANEL.name()}; color: {theme.TEXT.name()}; }}
    #picture {{ background: {theme.SURROUND.name()}; color: {theme.FAINT.name()}; }}
    #title {{ font-size: 20px; font-weight: bold; }}
    #badge {{ color: {theme.WARN.name()}; font-size: 12px; }}
    #result {{ font-size: 15px; }}
    QPushButton {{ background: {theme.CARD.name()}; padding: 9px;
      border: 1px solid {theme.LINE.name()}; border-radius: 6px; font-size: 14px; }}
    QPushButton:disabled {{ color: {theme.FAINT.name()}; }}
    #measure:enabled, #accept {{ border-color: {theme.ACCENT.name()};
      color: {theme.ACCENT.name()}; font-weight: bold; }}
    """
