/* Traverses all trees of a model for one or more rows; compiled.py prepares the arguments.
 *
 * Several trees descend in lockstep, so that the processor overlaps their loads and has no branches to mispredict. A leaf's children
 * are the leaf itself. Leaf values are added in tree order, in their own precision: compile with -ffp-contract=off and never with
 * -ffast-math.
 */
#include <math.h>
#include <stdint.h>

#define LANES 16 /* trees that descend in lockstep; as in compiled.py */

int32_t traverse_version(void) { return 1; } /* version of the functions' arguments; as in compiled.py */

#define TRAVERSE(NAME, REAL, VALUE)                                                                           \
    typedef struct {                                                                                          \
        REAL threshold;                                                                                       \
        int32_t column;                                                                                       \
        int32_t child[2]; /* next node if the value is below the threshold (or NaN), and if it is not */      \
    } NAME##_node;                                                                                            \
                                                                                                              \
    void NAME(const NAME##_node *nodes, const VALUE *values, const int32_t *roots, const int32_t *levels,     \
              int64_t groups, int64_t width, int64_t conditions, double start, const REAL *rows, int64_t n,   \
              REAL *row, VALUE *sums)                                                                         \
    {                                                                                                         \
        const int64_t inputs = width + conditions;                                                            \
        for (int64_t each = 0; each < n; each++, rows += inputs) {                                            \
            for (int64_t column = 0; column < inputs; column++)                                               \
                row[column] = rows[column];                                                                   \
            for (int64_t column = 0; column < width; column++) /* for nodes that send NaN right */            \
                row[inputs + column] = isnan(rows[column]) ? (REAL)INFINITY : rows[column];                   \
            VALUE sum = (VALUE)start;                                                                         \
            for (int64_t group = 0; group < groups; group++) {                                                \
                int32_t current[LANES];                                                                       \
                for (int lane = 0; lane < LANES; lane++)                                                      \
                    current[lane] = roots[group * LANES + lane];                                              \
                for (int32_t level = 0; level < levels[group]; level++)                                       \
                    for (int lane = 0; lane < LANES; lane++) {                                                \
                        const NAME##_node *node = nodes + current[lane];                                      \
                        current[lane] = node->child[row[node->column] >= node->threshold];                    \
                    }                                                                                         \
                for (int lane = 0; lane < LANES; lane++)                                                      \
                    sum += values[current[lane]];                                                             \
            }                                                                                                 \
            sums[each] = sum;                                                                                 \
        }                                                                                                     \
    }

TRAVERSE(traverse_ff, float, float)   /* XGBoost */
TRAVERSE(traverse_fd, float, double)  /* scikit-learn's random forest */
TRAVERSE(traverse_dd, double, double) /* scikit-learn's histogram gradient boosting, LightGBM */
