"""The one check of decision-tree nodes."""

import numpy as np
import pytest

from mlsys.errors import RunError
from mlsys.runs.tree_nodes import check_nodes

LEFT, RIGHT = [1, 3, -1, -1, -1, 6, -1, -1], [2, 4, -1, -1, -1, 7, -1, -1]  # trees of five and of three nodes
FEATURE = [0, 1, 0, 0, 0, 2, 0, 0]


def check(*, roots=(0, 5), left=LEFT, right=RIGHT, feature=FEATURE, n_features=3):
    left, right, feature = (np.array(values, dtype=np.intp) for values in (left, right, feature))
    check_nodes(np.array(roots), left, right, feature, np.array(LEFT) >= 0, n_features)


def changed(values, **by_node):
    copy = list(values)
    for node, value in by_node.items():
        copy[int(node.removeprefix("node_"))] = value
    return copy


def test_valid_trees_pass():
    check()


def test_leaves_are_ignored():
    check(left=changed(LEFT, node_2=99), right=changed(RIGHT, node_7=0), feature=changed(FEATURE, node_3=99))


@pytest.mark.parametrize(
    "nodes",
    [
        {"left": changed(LEFT, node_5=8)},  # past the last tree
        {"right": changed(RIGHT, node_0=5)},  # in the next tree
        {"left": changed(LEFT, node_5=3)},  # in the tree before
        {"right": changed(RIGHT, node_1=0)},  # its parent
        {"left": changed(LEFT, node_1=1)},  # itself
        {"left": changed(LEFT, node_0=-7)},
    ],
)
def test_a_child_outside_its_tree_or_before_its_parent_is_refused(nodes):
    with pytest.raises(RunError, match="a node's child is outside its tree or not numbered after its parent"):
        check(**nodes)


@pytest.mark.parametrize("column", [3, -1, 10**9])
def test_a_column_that_does_not_exist_is_refused(column):
    with pytest.raises(RunError, match=r"a column that does not exist \(the model has 3\)"):
        check(feature=changed(FEATURE, node_1=column))


def test_a_tree_without_nodes_is_refused():
    with pytest.raises(RunError, match="a tree has no nodes"):
        check(roots=(0, 5, 5))
    with pytest.raises(RunError, match="a tree has no nodes"):
        check_nodes(np.array([0]), *(np.empty(0, np.intp),) * 3, np.empty(0, bool), 3)
