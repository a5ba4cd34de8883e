"""Data made of functions that are known, to see what a model can and what it cannot learn.

Every generator gives a `Synthetic`: rows that `tfmtl.read` takes, their schema, and the truth behind the labels, which no
model can beat. One seed fixes the functions, the rows and the labels.

Example:

>>> from tfmtl.data import synthetic
>>> train, test = synthetic.multi_behavior(10_000).split(8_000)
>>> train.rows.num_rows, test.rows.num_rows, train.schema.task_names
(8000, 2000, ('click', 'like', 'buy'))
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task


@dataclass(frozen=True)
class Synthetic:
    """Rows, and what made them.

    Args:
        rows: features, labels, and columns to slice and group by.
        schema: features that need no adapting, and the tasks.
        truth: `{task: (N,)}`, what each label is expected to be: the probability of a 1, or the value without noise. For
            a task with a sample space, given that the row lies in it.
    """

    rows: pa.Table
    schema: Schema
    truth: dict[str, np.ndarray]

    def split(self, first: int) -> tuple["Synthetic", "Synthetic"]:
        """The `first` rows, and the others: two samples of the same functions.

        Raises:
            ValueError: a part without a row.
        """
        if not 0 < first < self.rows.num_rows:
            raise ValueError(f"`first` must leave rows on both sides of {self.rows.num_rows}. Received: first={first}")
        return self._part(slice(0, first)), self._part(slice(first, None))

    def _part(self, part: slice) -> "Synthetic":
        truth = {task: expected[part] for task, expected in self.truth.items()}
        return replace(self, rows=self.rows[part], truth=truth)


def correlated_regression(
    rows: int,
    *,
    correlation: float,
    d: int = 512,
    m: int = 10,
    c: float = 1.0,
    noise: float = 0.1,
    seed: int = 0,
) -> Synthetic:
    """Draws two regression tasks, `first` and `second`, that are as related as `correlation` says.

    ```
    w_1 = c u_1        w_2 = c (p u_1 + sqrt(1 - p^2) u_2)             u_1, u_2 orthonormal; p the correlation
    y_j = w_j . x + sum_{i=1..m} sin(alpha_i w_j . x + beta_i) + e     x ~ N(0, I_d);  alpha_i, beta_i ~ N(0, 1)
    ```

    At 1 the tasks differ by their noise alone, at 0 they read directions that have nothing in common.

    Args:
        rows: how many to draw.
        correlation: cosine between the weights, -1 to 1.
        d: width of `x`, the only feature; 2 or more.
        m: sines in each label.
        c: length of the weights.
        noise: standard deviation of `e`, drawn for each label.
        seed: of functions, rows and noise. One seed draws the same `x`, `u`, `alpha` and `beta` at every correlation.

    Raises:
        ValueError: a correlation outside [-1, 1], or a count or size that is too small.

    Reference:
        Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts", KDD 2018,
        section 3.2. Tang et al., "Progressive Layered Extraction (PLE)", RecSys 2020, section 5.2.3, use it with d=512,
        m=10, c=1 and 1.4 million rows; the noise of 0.1 is the MMoE paper's variance of 0.01.
    """
    if not -1 <= correlation <= 1:
        raise ValueError(f"`correlation` must be in [-1, 1]. Received: correlation={correlation}")
    _check_least({"rows": (rows, 1), "d": (d, 2), "m": (m, 0), "c": (c, 0), "noise": (noise, 0)})
    rng = np.random.default_rng(seed)
    u = np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    w = c * np.stack([u[0], correlation * u[0] + (1 - correlation**2) ** 0.5 * u[1]])
    x = rng.standard_normal((rows, d), dtype="float32")
    alpha, beta = rng.normal(size=(2, m))
    truth = {}
    for name, reading in zip(("first", "second"), w @ x.T, strict=True):
        truth[name] = reading + sum(np.sin(a * reading + b) for a, b in zip(alpha, beta, strict=True))
    labels = {name: expected + noise * rng.normal(size=rows) for name, expected in truth.items()}
    column = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), d)
    schema = Schema([Numeric("x", size=d, transform=None)], [Task(name, "regression") for name in truth])
    return Synthetic(pa.table({"x": column, **labels}), schema, truth)


class Reading(NamedTuple):
    """What a task of `multi_behavior` goes by: one attribute of the events in one history."""

    behavior: str
    attribute: str


READINGS = {
    "click": Reading("viewed", "category"),
    "like": Reading("liked", "brand"),
    "buy": Reading("carted", "price"),
}
"""Every task goes by another behaviour and another attribute."""

BEHAVIORS = tuple(reading.behavior for reading in READINGS.values())
ATTRIBUTES = tuple(reading.attribute for reading in READINGS.values())


class Group(NamedTuple):
    """A user group: its share of the users, the part of a history that its users fill at most, and their rows, 1 on average."""

    share: float
    events: float
    activity: float


GROUPS = {"new": Group(0.2, 0.1, 0.1), "casual": Group(0.4, 0.5, 0.7), "heavy": Group(0.4, 1.0, 1.75)}
"""One row in 50 is a new user's."""

_INTERCEPT = {"click": -0.5, "like": -1.5, "buy": -1.0}
_LOYALTY = 0.8  # how often an event shows a favourite, and not just any value


def multi_behavior(
    rows: int,
    *,
    users: int = 2000,
    values: int = 12,
    favourites: int = 2,
    length: int = 20,
    strength: float = 4.0,
    group_spread: float = 0.5,
    user_spread: float = 0.5,
    seed: int = 0,
) -> Synthetic:
    """Draws rows of users who view, like and put into the cart, with tasks that each go by something else.

    An item, and so an event, has a category, a brand and a price band. A user has favourites among each, others in every
    behaviour: what is viewed is not what is liked. Each row is one item shown to one user with three histories:

    ```
    share_t   = share of the events in the history of t's behaviour that have the item's value of t's attribute
    logit_t   = b_t + strength (favourites share_t - 1/2)
              + group_spread (f_t[item] + f_g[item] + f_{t,g}[item]) + user_spread v_{t,u}
    P(t = 1)  = sigmoid(logit_t)
    ```

    | task | defined for | behaviour | attribute |
    |---|---|---|---|
    | `click` | all rows | `viewed` | `category` |
    | `like` | all rows | `liked` | `brand` |
    | `buy` | rows with a click | `carted` | `price` |

    The two other attributes of a history are as regular and say nothing about the task: a network that reads all
    histories in one way must carry them all along. `f` are random functions of the item: a part that the task has in all
    groups, one that the group has in all tasks, and one of their own. `v` makes some users click and others like.

    Args:
        rows: how many to draw.
        users: how many there are; they differ in how many rows they have.
        values: of each attribute, evenly common.
        favourites: of a user among them, for every behaviour. The more there are, the fewer events of a history match an
            item that the user cares for.
        length: events in the longest history; lengths vary, and some histories are empty.
        strength: how much the histories say.
        group_spread: how much the item says, and differently for each group.
        user_spread: how much users differ beyond their histories; known only through `user_id`.
        seed: of users, functions, rows and labels.

    Returns:
        A `Synthetic` whose features are the item's attributes, the user's group, and a `Sequence` for each behaviour. Its
        rows also hold `user_id`, which is no feature, in `[0, users)`. In rows without a click `buy` is 0, as in a log.
        The groups are `"new"` (1 row in 50, short histories), `"casual"` and `"heavy"`.

    Raises:
        ValueError: a count that is too small, or a negative spread.
    """
    counts = {"rows": (rows, 1), "users": (users, len(GROUPS)), "favourites": (favourites, 1), "length": (length, 1)}
    spreads = {"group_spread": (group_spread, 0), "user_spread": (user_spread, 0)}
    _check_least({**counts, **spreads, "values": (values, favourites)})
    rng = np.random.default_rng(seed)
    group_of = np.repeat(np.arange(len(GROUPS)), _counts(users))
    activity = np.array([group.activity for group in GROUPS.values()])[group_of]
    liked = rng.random((users, len(BEHAVIORS), len(ATTRIBUTES), values)).argsort(-1)[..., :favourites]
    appeal = _appeal(rng, values)
    habits = rng.normal(size=(len(READINGS), users))

    user = rng.choice(users, size=rows, p=activity / activity.sum())
    group = group_of[user]
    item = _items(rng, liked[user], values)
    present = _present(rng, group, length)
    events = _events(rng, liked[user], values, length)

    truth = {}
    for t, name in enumerate(READINGS):
        # The t-th task reads the t-th attribute of the t-th behaviour.
        matches = (events[:, t, t] == item[:, t, None]) & present[:, t]
        share = matches.sum(-1) / np.maximum(present[:, t].sum(-1), 1)
        logit = _INTERCEPT[name] + strength * (favourites * share - 0.5)
        logit += group_spread * appeal[t, group, np.arange(len(ATTRIBUTES))[:, None], item.T].sum(0)
        truth[name] = 1 / (1 + np.exp(-logit - user_spread * habits[t, user]))
    labels = {name: (rng.random(rows) < chance).astype("int64") for name, chance in truth.items()}
    labels["buy"] *= labels["click"]

    columns: dict[str, Any] = {"user_id": user, "group": np.array(list(GROUPS))[group]}
    columns |= {attribute: item[:, a] for a, attribute in enumerate(ATTRIBUTES)}
    for s, behavior in enumerate(BEHAVIORS):
        for a, attribute in enumerate(ATTRIBUTES):
            columns[f"{behavior}_{attribute}"] = _lists(events[:, s, a], present[:, s])
    return Synthetic(pa.table({**columns, **labels}), _schema(values, length), truth)


def selection(
    rows: int, *, users: int = 20, items: int = 20, strength: float = 2.0, reach: float = 1.2, seed: int = 0
) -> Synthetic:
    """Draws rows of a chain, click and buy, in which what would have been bought without a click is known.

    ```
    P(click)         = sigmoid(-1 + reach (a_user + b_item))               a, b ~ N(0, 1)
    P(buy | click)   = sigmoid(-1 + strength a_user b_item)
    ```

    Users who click much and items that are clicked much meet in most of the clicks, and the rows that are rarely clicked buy
    by another pattern. A model that is too small for the product, such as one that adds a number of the user and one of
    the item, fits the clicked rows at the others' expense.

    Args:
        rows: how many to draw.
        users, items: how many there are.
        strength: how much conversions depend on user and item together.
        reach: how much clicks depend on each.
        seed: of functions, rows and labels.

    Returns:
        A `Synthetic` with `buy` as a chain has it, 0 without a click. Its rows and its truth also have `buy_if_clicked`: the
        label, and its probability, had the row been clicked.

    Raises:
        ValueError: a count that is too small.
    """
    _check_least({"rows": (rows, 1), "users": (users, 1), "items": (items, 1)})
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=users), rng.normal(size=items)
    user, item = rng.integers(users, size=rows), rng.integers(items, size=rows)
    click = 1 / (1 + np.exp(1 - reach * (a[user] + b[item])))
    buy = 1 / (1 + np.exp(1 - strength * a[user] * b[item]))
    clicked, would_buy = ((rng.random(rows) < chance).astype("int64") for chance in (click, buy))
    labels = {"click": clicked, "buy": clicked * would_buy, "buy_if_clicked": would_buy}
    features = [
        Categorical("user", num_ids=users, dim=1, side="user"),
        Categorical("item", num_ids=items, dim=1, side="item"),
    ]
    schema = Schema(features, [Task(name, mean=float(labels[name].mean())) for name in ("click", "buy")])
    truth = {"click": click, "buy": click * buy, "buy_if_clicked": buy}
    return Synthetic(pa.table({"user": user, "item": item, **labels}), schema, truth)


def _schema(values: int, length: int, dim: int = 8) -> Schema:
    """Items and events share a table for each attribute."""
    item = [Categorical(name, num_ids=values, dim=dim, table=name, side="item") for name in ATTRIBUTES]
    group = Categorical("group", vocabulary=tuple(GROUPS), dim=dim, side="user")
    histories = [Sequence(behavior, tuple(item), length=length, side="user") for behavior in BEHAVIORS]
    tasks = [Task(name, sample_space="click" if name == "buy" else None) for name in READINGS]
    return Schema([*item, group, *histories], tasks)


def _counts(users: int) -> list[int]:
    """Users in each group, one or more."""
    counts = [max(1, round(group.share * users)) for group in GROUPS.values()]
    return [*counts[:-1], users - sum(counts[:-1])]


def _appeal(rng: np.random.Generator, values: int) -> np.ndarray:
    """`f_t + f_g + f_{t,g}` of every value of every attribute, `(tasks, groups, attributes, values)`."""
    tasks, groups, of_item = len(READINGS), len(GROUPS), (len(ATTRIBUTES), values)
    parts = [rng.normal(size=(*who, *of_item)) for who in ((tasks, 1), (1, groups), (tasks, groups))]
    return sum(parts) / len(ATTRIBUTES) ** 0.5


def _items(rng: np.random.Generator, favourites: np.ndarray, values: int) -> np.ndarray:
    """What is shown, `(N, attributes)`: half of the values are favourites where their task looks for them."""
    rows, _, attributes, count = favourites.shape
    own = np.arange(attributes)
    chosen = favourites[np.arange(rows)[:, None], own, own, rng.integers(count, size=(rows, attributes))]
    return np.where(rng.random((rows, attributes)) < 0.5, chosen, rng.integers(values, size=(rows, attributes)))


def _events(rng: np.random.Generator, favourites: np.ndarray, values: int, length: int) -> np.ndarray:
    """What the histories hold, `(N, behaviours, attributes, length)`."""
    *which, count = favourites.shape
    shape = (*which, length)
    chosen = np.take_along_axis(favourites, rng.integers(count, size=shape), axis=-1)
    return np.where(rng.random(shape) < _LOYALTY, chosen, rng.integers(values, size=shape))


def _present(rng: np.random.Generator, group: np.ndarray, length: int) -> np.ndarray:
    """Which events there are, `(N, behaviours, length)`: from none up to what the group's users have at most."""
    most = np.ceil(length * np.array([of.events for of in GROUPS.values()])).astype(int)[group]
    lengths = rng.integers(0, most[:, None] + 1, size=(len(group), len(BEHAVIORS)))
    return np.arange(length) < lengths[..., None]


def _lists(values: np.ndarray, present: np.ndarray) -> pa.ListArray:
    offsets = np.concatenate([[0], present.sum(-1).cumsum()]).astype("int32")
    return pa.ListArray.from_arrays(offsets, values[present])


def _check_least(given: dict[str, tuple[float, float]]) -> None:
    for name, (value, least) in given.items():
        if not value >= least:
            raise ValueError(f"`{name}` must be >= {least}. Received: {name}={value}")
