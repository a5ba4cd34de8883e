"""Draws the figures of the papers' pages: `python docs/papers/figures.py` writes the SVG files beside it."""

from html import escape
from pathlib import Path

COLORS = {"click": "#cfe0f3", "buy": "#f6dfc2", "shared": "#dcdcdc", "plain": "#ffffff", "steer": "#d9ead3"}
HEIGHT = 34


class Figure:
    """Boxes and arrows, from the rows at the bottom to the predictions at the top."""

    def __init__(self, width: int, height: int):
        self.size = (width, height)
        self.parts: list[str] = []

    def box(self, x: int, y: int, width: int, text: str, color: str = "plain") -> tuple[int, int, int]:
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{HEIGHT}" rx="5" fill="{COLORS[color]}" stroke="#444"/>'
        )
        self.text(x + width // 2, y + HEIGHT // 2 + 5, text)
        return x, y, width

    def text(self, x: int, y: int, text: str, anchor: str = "middle") -> None:
        self.parts.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>')

    def arrow(self, lower: tuple[int, int, int], upper: tuple[int, int, int], dashed: bool = False) -> None:
        (x1, y1, w1), (x2, y2, w2) = lower, upper
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<line x1="{x1 + w1 // 2}" y1="{y1}" x2="{x2 + w2 // 2}" y2="{y2 + HEIGHT + 4}" stroke="#666"'
            f'{dash} marker-end="url(#tip)"/>'
        )

    def beside(self, left: tuple[int, int, int], right: tuple[int, int, int]) -> None:
        (x1, y1, w1), (x2, y2, _) = left, right
        self.parts.append(
            f'<line x1="{x1 + w1}" y1="{y1 + HEIGHT // 2}" x2="{x2 - 4}" y2="{y2 + HEIGHT // 2}" stroke="#666" '
            'marker-end="url(#tip)"/>'
        )

    def write(self, path: Path, title: str) -> None:
        width, height = self.size
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
            'font-family="sans-serif" font-size="13">\n'
            f"<title>{escape(title)}</title>\n"
            '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
            '<path d="M0,0 L6,3 L0,6 z" fill="#666"/></marker></defs>\n'
            '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(self.parts) + "\n</svg>\n"
        )


def ple() -> Figure:
    figure = Figure(720, 400)
    streams = {"click": 40, "shared": 290, "buy": 540}
    below = {name: figure.box(x, 350, 140, f"x {name}", name) for name, x in streams.items()}
    for y, last in ((200, False), (50, True)):
        experts = {
            name: [figure.box(x - 12 + 86 * i, y + 70, 78, f"expert {i + 1}", name) for i in range(2)]
            for name, x in streams.items()
        }
        made = {}
        for name, x in streams.items():
            for expert in experts[name]:
                figure.arrow(below[name], expert)
            if not (last and name == "shared"):
                made[name] = figure.box(x, y, 140, f"gate {name}", name)
        for name, gate in made.items():
            read = ("click", "shared", "buy") if name == "shared" else (name, "shared")
            for source in read:
                for expert in experts[source]:
                    figure.arrow(expert, gate)
        below = made
    for name in ("click", "buy"):
        figure.arrow(below[name], figure.box(streams[name], 2, 140, f"tower {name}", name))
    return figure


def mfh() -> Figure:
    figure = Figure(720, 400)
    root = figure.box(260, 350, 200, "root switcher", "shared")
    facets = [
        figure.box(90, 265, 220, "switcher by behaviour", "click"),
        figure.box(410, 265, 220, "switcher by group", "buy"),
    ]
    leaves = [
        figure.box(20, 180, 150, "click, by group", "click"),
        figure.box(190, 180, 150, "like, by group", "click"),
        figure.box(380, 180, 150, "new, by behaviour", "buy"),
        figure.box(550, 180, 150, "heavy, by behaviour", "buy"),
    ]
    tasks = [
        figure.box(20 + 176 * i, 70, 150, name)
        for i, name in enumerate(["click_new", "click_heavy", "like_new", "like_heavy"])
    ]
    for i, facet in enumerate(facets):
        figure.arrow(root, facet)
        for leaf in leaves[2 * i : 2 * i + 2]:
            figure.arrow(facet, leaf)
    for leaf, reached in zip(leaves, ((0, 1), (2, 3), (0, 2), (1, 3)), strict=True):
        for task in reached:
            figure.arrow(leaf, tasks[task])
    figure.text(360, 50, "every task is the sum of one leaf of either tree; a tower on top of each")
    return figure


def dtrn() -> Figure:
    figure = Figure(720, 400)
    histories = [
        figure.box(210 + 170 * i, 350, 150, f"history: {name}") for i, name in enumerate(["viewed", "liked", "carted"])
    ]
    pair = figure.box(10, 270, 150, "task, behaviour", "steer")
    hyper = figure.box(10, 200, 150, "hypernetwork", "steer")
    transformer = figure.box(
        210, 200, 490, "one transformer; gamma and beta of its norms for each task and history", "shared"
    )
    figure.arrow(pair, hyper)
    figure.beside(hyper, transformer)
    for history in histories:
        figure.arrow(history, transformer)
    for x, name in ((210, "click"), (460, "buy")):
        interest = figure.box(x, 120, 240, f"interests of {name}, one a history", name)
        senet = figure.box(x, 45, 240, f"TaskSENet of {name}", name)
        figure.arrow(transformer, interest)
        figure.arrow(interest, senet)
    figure.text(455, 25, "to any trunk: one stream a task")
    return figure


def stem_net() -> Figure:
    figure = Figure(720, 400)
    streams = {"click": 40, "shared": 290, "buy": 540}
    ids = figure.box(260, 350, 200, "ids of all fields")
    experts = {}
    for name, x in streams.items():
        table = figure.box(x, 270, 140, f"table {name}", name)
        experts[name] = figure.box(x, 185, 140, f"experts {name}", name)
        figure.arrow(ids, table)
        figure.arrow(table, experts[name])
    for task in ("click", "buy"):
        gate = figure.box(streams[task], 85, 140, f"gate {task}", task)
        for name, expert in experts.items():
            figure.arrow(expert, gate, dashed=name not in (task, "shared"))
        figure.arrow(gate, figure.box(streams[task], 15, 140, f"tower {task}", task))
    figure.text(360, 150, "dashed: read, not trained by this task")
    return figure


def chains() -> Figure:
    figure = Figure(720, 300)
    for x, title in ((20, "ESMM: probabilities are multiplied"), (380, "AITM: what a step knows is handed on")):
        figure.text(x + 160, 20, title)
        streams = [figure.box(x + 115 * i, 245, 100, f"x {name}", color) for i, (name, color) in enumerate(STEPS)]
        towers = [figure.box(x + 115 * i, 165, 100, f"tower {name}", color) for i, (name, color) in enumerate(STEPS)]
        for stream, tower in zip(streams, towers, strict=True):
            figure.arrow(stream, tower)
        if x == 20:
            tops = [
                figure.box(x + 115 * i, 65, 100, text) for i, text in enumerate(("p1 = c1", "p2 = p1 c2", "p3 = p2 c3"))
            ]
        else:
            tops = [figure.box(x + 115 * i, 65, 100, text) for i, text in enumerate(("p1", "p2 <= p1", "p3 <= p2"))]
        for tower, top in zip(towers, tops, strict=True):
            figure.arrow(tower, top)
        for left, right in zip((tops if x == 20 else towers), (tops if x == 20 else towers)[1:], strict=False):
            figure.beside(left, right)
    return figure


STEPS = (("click", "click"), ("cart", "shared"), ("buy", "buy"))

TITLES = {
    ple: "PLE: two levels of experts and gates",
    mfh: "MFH: two trees of switchers",
    dtrn: "DTRN: a transformer that a hypernetwork steers",
    stem_net: "STEM-Net: a table for each task",
    chains: "ESMM and AITM: chains of steps",
}


def main() -> None:
    for draw, title in TITLES.items():
        draw().write(Path(__file__).with_name(f"{draw.__name__}.svg"), title)


if __name__ == "__main__":
    main()
