/* The walk through all trees of a model for one or more rows; compiled_walk.py says what it is given.
 *
 * Several trees go down in step: the processor waits for none of them, and guesses no branch wrongly. A leaf leads back to itself.
 * Leaves are added in the order of the trees, in the precision of their values: compile with -ffp-contract=off and never with
 * -ffast-math.
 */
#include <math.h>
#include <stdint.h>

#define LANES 16 /* trees that go down in step */

int32_t walk_version(void) { return 1; } /* of what these functions take; as in compiled_walk.py */

#define WALK(NAME, REAL, VALUE)                                                                               \
    typedef struct {                                                                                          \
        REAL threshold;                                                                                       \
        int32_t column;                                                                                       \
        int32_t child[2]; /* where to go if the value is below the threshold (or NaN), and if not */          \
    } NAME##_node;                                                                                            \
                                                                                                              \
    void NAME(const NAME##_node *nodes, const VALUE *values, const int32_t *roots, const int32_t *levels,     \
              int64_t groups, int64_t width, int64_t conditions, double start, const REAL *rows, int64_t n,   \
              REAL *row, VALUE *sums)                                                                         \
    {                                                                                                         \
        const int64_t given = width + conditions;                                                             \
        for (int64_t each = 0; each < n; each++, rows += given) {                                             \
            for (int64_t column = 0; column < given; column++)                                                \
                row[column] = rows[column];                                                                   \
            for (int64_t column = 0; column < width; column++) /* where NaN goes right */                     \
                row[given + column] = isnan(rows[column]) ? (REAL)INFINITY : rows[column];                    \
            VALUE sum = (VALUE)start;                                                                         \
            for (int64_t group = 0; group < groups; group++) {                                                \
                int32_t at[LANES];                                                                            \
                for (int lane = 0; lane < LANES; lane++)                                                      \
                    at[lane] = roots[group * LANES + lane];                                                   \
                for (int32_t level = 0; level < levels[group]; level++)                                       \
                    for (int lane = 0; lane < LANES; lane++) {                                                \
                        const NAME##_node *node = nodes + at[lane];                                           \
                        at[lane] = node->child[row[node->column] >= node->threshold];                         \
                    }                                                                                         \
                for (int lane = 0; lane < LANES; lane++)                                                      \
                    sum += values[at[lane]];                                                                  \
            }                                                                                                 \
            sums[each] = sum;                                                                                 \
        }                                                                                                     \
    }

WALK(walk_ff, float, float)   /* XGBoost */
WALK(walk_fd, float, double)  /* scikit-learn's forests */
WALK(walk_dd, double, double) /* scikit-learn's histogram gradient boosting, LightGBM */
