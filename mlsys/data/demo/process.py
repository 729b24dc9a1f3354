"""Simulates the process: companies try a free product, use it week by week, and some convert.

Usage precedes the outcome: every account first gets a trial history, which drives a weekly hazard of conversion.
Accounts that convert then have the heavier usage of a customer. So only usage before the conversion is predictive, and
summing an account's whole history leaks the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsys.runs.logistic import sigmoid

Ints = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

PRODUCTS = ("CRM_CONTACTS", "CRM_COMPANIES", "CRM_DEALS", "EMAIL")
BLOCK = 2_000  # accounts per random stream; changing it changes all data
WEEKS = 82  # weeks in the tables; the last one starts on 2020-07-27

_SIMULATED_WEEKS = 86  # usage in August 2020 leads to conversions, but is not in the tables
_HOLIDAY_WEEKS = (50, 51)  # the weeks of 2019-12-23 and 2019-12-30
_FIRST_CLOSE, _LAST_CLOSE = 8, 589  # days after the first Monday: 2019-01-15 and 2020-08-18

# Per product: log odds of use in an active week, fraction of the team that uses it, mean and standard deviation of the
# log of actions per user.
_USE_LOG_ODDS = np.array([2.7, -0.7, -0.6, -2.3], np.float32)
_TEAM_FRACTION = np.array([1, 0.8, 0.9, 0.45], np.float32)
_LOG_ACTIONS = np.array([1.9, 1.4, 1.9, 0.8], np.float32)
_LOG_ACTIONS_SPREAD = np.array([1.6, 1.6, 1.5, 0.9], np.float32)

# By employee range, from one person to more than 10,000.
EMPLOYEE_WEIGHTS = (0.13, 0.23, 0.205, 0.08, 0.12, 0.085, 0.07, 0.07, 0.01)
_RANKED = (0.06, 0.17, 0.36, 0.42, 0.5, 0.63, 0.78, 0.78, 0.82)  # fraction with a web rank


@dataclass(frozen=True)
class Companies:
    """The companies behind a block of accounts; arrays have shape (n_accounts,) unless noted.

    Attributes
    ----------
    size : int array
        Index of the employee range.
    ranked : bool array
        Whether the company's site has a web rank.
    propensity : float array
        How well the product fits the company, standard normal. Latent: not in any table.
    team : float array
        Number of potential users of the trial, at least 1.
    affinity : float array of shape (products, accounts)
        Probability that the product is used in an active week.
    intensity : float array
        Company effect on the log of actions per user, added to the product's mean.
    """

    size: Ints
    ranked: Bools
    propensity: Floats
    team: Floats
    affinity: Floats
    intensity: Floats


@dataclass(frozen=True)
class Usage:
    """Account-weeks, sorted by account and week; arrays have one entry per row.

    Attributes
    ----------
    account : int array
        Index of the account in its block.
    week : int array
        Number of weeks since the first Monday.
    counts : int array of shape (2, products, rows)
        Number of actions and of users.
    """

    account: Ints
    week: Ints
    counts: NDArray[np.int32]

    def where(self, keep: Bools) -> Usage:
        """Return the rows selected by the mask."""
        return Usage(self.account[keep], self.week[keep], self.counts[:, :, keep])

    def merged(self, other: Usage) -> Usage:
        """Return the sorted union of both row sets."""
        account, week = np.concatenate([self.account, other.account]), np.concatenate([self.week, other.week])
        order = np.argsort(account * WEEKS + week, kind="stable")
        counts = np.concatenate([self.counts, other.counts], axis=2)
        return Usage(account[order], week[order], counts[:, :, order])


@dataclass(frozen=True)
class Simulation:
    """A block of simulated accounts.

    Attributes
    ----------
    companies : Companies
    close : int array of shape (accounts,)
        Day on which the account converted, counted from the first Monday; -1 if it never did.
    usage : Usage
        Trial usage up to that day, customer usage after it.
    """

    companies: Companies
    close: Ints
    usage: Usage


def simulate(rng: np.random.Generator, *, every_size: bool) -> Simulation:
    """Simulate ``BLOCK`` accounts.

    Parameters
    ----------
    rng : Generator
        The block's random stream.
    every_size : bool
        Whether the first accounts cover each employee range once, so that small tables have all ranges.
    """
    companies = _draw_companies(rng)
    if every_size:
        companies.size[: len(EMPLOYEE_WEIGHTS)] = np.arange(len(EMPLOYEE_WEIGHTS))
    trial = _simulate_trial(rng, companies)
    close = _draw_close(rng, companies, trial)
    close_of_row = close[trial.account]
    unconverted = (close_of_row < 0) | (7 * trial.week <= close_of_row)
    usage = trial.where((trial.week < WEEKS) & unconverted)
    return Simulation(companies, close, usage.merged(_simulate_paid_usage(rng, companies, close)))


def uniform(rng: np.random.Generator, *shape: int) -> Floats:
    """Draw from the uniform distribution on [0, 1), float32."""
    return rng.random(shape, dtype=np.float32)


def normal(rng: np.random.Generator, *shape: int) -> Floats:
    """Draw from the standard normal distribution, float32."""
    return rng.standard_normal(shape, dtype=np.float32)


def _draw_companies(rng: np.random.Generator) -> Companies:
    size = rng.choice(len(EMPLOYEE_WEIGHTS), BLOCK, p=EMPLOYEE_WEIGHTS)
    ranked = uniform(rng, BLOCK) < np.take(_RANKED, size)
    propensity, spread, intensity = normal(rng, 3, BLOCK)
    team = np.exp(0.1 + 0.06 * np.minimum(size, 5) + 0.45 * propensity + 0.85 * spread).astype(np.float32)
    preference = normal(rng, len(PRODUCTS), BLOCK)
    affinity = sigmoid(_USE_LOG_ODDS[:, None] + 0.6 * propensity + 1.7 * preference)
    intensity = -0.3 + 0.3 * propensity + 0.8 * intensity
    return Companies(size, ranked, propensity, np.maximum(team, 1), affinity, intensity)


def _simulate_trial(rng: np.random.Generator, companies: Companies) -> Usage:
    """Simulate free usage: many accounts never start, most others stop within weeks, and some grow a team."""
    propensity = companies.propensity
    signup = np.floor(rng.uniform(-22, _SIMULATED_WEEKS, BLOCK)).astype(np.int64)  # some sign up before the data start
    length = np.exp(0.7 + 1.0 * propensity + 1.8 * normal(rng, BLOCK))
    unused = uniform(rng, BLOCK) < sigmoid(-1.5 - 0.4 * propensity)
    account, step = _ragged(np.where(unused, 0, 1 + np.minimum(length, 100)).astype(np.int64))

    steady = sigmoid(0.5 + 0.4 * propensity + 0.8 * normal(rng, BLOCK))[account]
    pause = 2 + 5 * rng.standard_exponential(account.size, dtype=np.float32)
    gap = np.where(uniform(rng, account.size) < steady, 1, pause).astype(np.int64)
    gap[step == 0] = 0
    elapsed = np.cumsum(gap)
    week = signup[account] + elapsed - elapsed[np.arange(account.size) - step]
    keep = (week >= 0) & (week < _SIMULATED_WEEKS)
    account, step, week = account[keep], step[keep], week[keep]

    adopted = 1 - np.exp(-step.astype(np.float32) / 5)  # colleagues join over the first weeks
    team = 1 + (companies.team[account] - 1) * adopted
    active = sigmoid(-0.3 + 0.9 * propensity + 0.6 * normal(rng, BLOCK))[account]
    return _simulate_usage(rng, companies, account, week, team, active)


def _simulate_paid_usage(rng: np.random.Generator, companies: Companies, close: Ints) -> Usage:
    """Simulate usage after conversion, from the following week: more users, nearly every week, for longer."""
    first = np.where(close >= 0, np.minimum(close // 7 + 1, WEEKS), WEEKS)
    last = np.minimum(WEEKS, first + rng.exponential(150, BLOCK)).astype(np.int64)
    account, step = _ragged(last - first)
    keep = uniform(rng, account.size) < 0.9
    account, step = account[keep], step[keep]
    week = first[account] + step
    growth = (0.8 + 2 * uniform(rng, BLOCK))[account] * (1 - 0.4 * np.exp(-step.astype(np.float32) / 8))
    active = np.full(account.size, 0.92, np.float32)
    return _simulate_usage(rng, companies, account, week, 1 + companies.team[account] * growth, active)


def _simulate_usage(
    rng: np.random.Generator, companies: Companies, account: Ints, week: Ints, team: Floats, active: Floats
) -> Usage:
    """Draw users and actions per product for account-weeks, given team size and probability of any activity."""
    holiday = np.isin(week, _HOLIDAY_WEEKS)
    present = ~holiday | (uniform(rng, account.size) < 0.85)
    account, week, holiday = account[present], week[present], holiday[present]
    team, active = team[present], active[present]

    busy = np.flatnonzero(uniform(rng, account.size) < active)
    product, position = np.nonzero(uniform(rng, len(PRODUCTS), busy.size) < companies.affinity[:, account[busy]])
    row = busy[position]
    people = team * np.exp(0.25 * normal(rng, account.size))
    fraction = _TEAM_FRACTION[product] * (1 - 0.5 * uniform(rng, row.size))
    users = np.maximum(1, np.rint(people[row] * fraction))
    log_actions = _LOG_ACTIONS[product] + _LOG_ACTIONS_SPREAD[product] * normal(rng, row.size)
    per_user = np.exp(np.minimum(log_actions + companies.intensity[account[row]], 6.5) - holiday[row])

    counts = np.zeros((2, len(PRODUCTS), account.size), np.int32)
    counts[0, product, row] = np.maximum(users * per_user, users)
    counts[1, product, row] = users
    return Usage(account, week, counts)


def _draw_close(rng: np.random.Generator, companies: Companies, trial: Usage) -> Ints:
    """Draw the day on which each account converts, counted from the first Monday; -1 if it never does.

    The weekly hazard increases with the team size of the last four weeks, its growth over the four weeks before and the
    number of products in use; slightly with the company's size and web rank; and with random noise. A few accounts
    convert regardless of usage.
    """
    users = np.asarray(trial.counts[1].max(axis=0), np.float32)
    products = np.asarray((trial.counts[1] > 0).sum(axis=0), np.float32)
    recent = _recent_maximum(users, trial, weeks=4)
    before = _recent_maximum(users, trial, weeks=8, skip=4)
    breadth = _recent_maximum(products, trial, weeks=4)
    company = 0.1 * np.minimum(companies.size, 6) + 0.5 * companies.ranked + 0.8 * normal(rng, BLOCK)
    growth = np.log1p(recent) - np.log1p(before)
    score = 1.6 * np.log1p(recent) + 0.4 * growth + 0.25 * breadth + company[trial.account]
    hazard = np.minimum(0.08, 0.0005 * np.exp(score)) * (recent > 0)
    won = uniform(rng, hazard.size) < hazard
    # Sales take time: contracts are signed some days after the week that triggered them.
    day = 7 * trial.week + 4 + rng.exponential(28, hazard.size).astype(np.int64)

    close = np.full(BLOCK, np.iinfo(np.int64).max)
    np.minimum.at(close, trial.account[won], day[won])
    regardless = uniform(rng, BLOCK) < 0.007
    close[regardless] = np.minimum(close, rng.integers(_FIRST_CLOSE, _LAST_CLOSE + 1, BLOCK))[regardless]
    return np.where(close <= _LAST_CLOSE, np.maximum(close, _FIRST_CLOSE), -1)


def _recent_maximum(values: Floats, usage: Usage, *, weeks: int, skip: int = 0) -> Floats:
    """Return the maximum over an account's rows that are ``skip`` to ``weeks - 1`` weeks old; 0 without such rows."""
    latest = np.zeros_like(values) if skip else values.copy()
    for back in range(1, weeks):
        age = usage.week[back:] - usage.week[:-back]
        near = (usage.account[back:] == usage.account[:-back]) & (age >= skip) & (age < weeks)
        np.maximum(latest[back:], values[:-back] * near, out=latest[back:])
    return latest


def _ragged(lengths: Ints) -> tuple[Ints, Ints]:
    """Expand to ``lengths[i]`` rows per index i; return each row's index i and its position within i."""
    owner = np.repeat(np.arange(lengths.size), lengths)
    return owner, np.arange(owner.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
