"""The C header of a library. What is common to all libraries of tgen is guarded, so a program may include several headers."""

from __future__ import annotations

import string
from collections.abc import Sequence

from ..ir.types import TensorType
from .layout import MASK_BYTES, STATUS_TEXTS, Status
from .model import Library

C_TYPES = {
    "float32": "float", "float64": "double", "float16": "uint16_t (IEEE half)", "bfloat16": "uint16_t (bfloat16)",
    "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "uint16": "uint16_t", "int32": "int32_t", "uint32": "uint32_t",
    "int64": "int64_t", "uint64": "uint64_t", "bool": "uint8_t (0 or 1)", "complex64": "float[2]", "complex128": "double[2]",
}  # fmt: skip

_COMMON = """\
#ifndef TGEN_C_INTERFACE
#define TGEN_C_INTERFACE 1

/* What every function that can fail gives back. */
typedef enum tgen_status {
$statuses
} tgen_status;

/* A tensor of a call. The caller owns all of it.
 *   data     first element; may be NULL where there are no elements
 *   shape    `rank` extents, in elements
 *   strides  `rank` distances in bytes from an element to the next one along each axis; NULL: elements lie one after the other, the
 *            last axis fastest. Other strides cost a copy of the tensor, in the workspace.
 *   rank     number of axes */
typedef struct tgen_tensor {
  void *data;
  const int64_t *shape;
  const int64_t *strides;
  int64_t rank;
} tgen_tensor;

/* What a model says of an input or output. `shape` holds `rank` texts: numbers, and symbols or sums of them such as "2*seq + 1". */
typedef struct tgen_tensor_info {
  const char *name;
  const char *dtype;
  int64_t element_bytes;
  int64_t rank;
  const char *const *shape;
} tgen_tensor_info;

/* Options of a context. Set all to 0 and `struct_bytes` to sizeof(tgen_options), then what is to be otherwise.
 *   threads        most threads of a run, the caller's included; 0: as many as the CPU set and a cgroup's quota allow
 *   cpu_words      64-bit words of `cpus`, at most $mask_words
 *   check_weights  not 0: read the whole weights file once and compare its hash; 0: compare its header only
 *   cpus           CPUs that the library's own threads run on, bit k of word w for CPU 64*w + k; NULL: those of the process at this
 *                  moment. The calling thread stays where it is.
 *   weights        path of the weights file; NULL: beside the library */
typedef struct tgen_options {
  uint32_t struct_bytes;
  int32_t threads;
  uint32_t cpu_words;
  int32_t check_weights;
  const uint64_t *cpus;
  const char *weights;
} tgen_options;

#endif /* TGEN_C_INTERFACE */
"""

_HEADER = """\
/* $name: a model compiled by tgen, as a library that needs libc and POSIX threads and nothing else.
 *
$tensors *
 * Symbols, in the order in which functions take their values: $symbol_list.
 *
 * A context belongs to one call at a time; any number of contexts may run at once. Contexts share the library's threads, which start with
 * the first run that needs them and sleep when there is nothing to do. A forked child may go on with its parent's contexts. */
#ifndef ${upper}_H
#define ${upper}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

$common
$constants
typedef struct ${name}_context ${name}_context;

/* Makes a context. options: NULL for none. *context: what was made, NULL after a failure; the caller destroys it.
 * TGEN_NULL_POINTER (context), TGEN_WRONG_OPTION, TGEN_WRONG_CPU, TGEN_NO_MEMORY, TGEN_NO_WEIGHTS, TGEN_WRONG_WEIGHTS. */
tgen_status ${name}_create(const tgen_options *options, ${name}_context **context);

/* Frees a context that is in no run, and the workspace that it allocated; NULL is allowed. */
void ${name}_destroy(${name}_context *context);

/* Bytes of workspace that a run with contiguous tensors needs for these values of the symbols. Each
 * tensor with other strides needs its own size more, rounded up to 64. symbols: ${name}_symbol_count() values, each at least 0.
 * TGEN_NULL_POINTER, TGEN_WRONG_SHAPE (absurd values). */
tgen_status ${name}_workspace_bytes(${name}_context *context, const int64_t *symbols, int64_t *bytes);

/* Makes runs use the caller's memory, aligned to 64 bytes, until the context is destroyed or given another; the caller keeps owning it.
 * memory NULL with bytes 0: back to memory of the context's own, allocated when it is needed and kept for later runs.
 * TGEN_NULL_POINTER, TGEN_WRONG_OPTION, TGEN_MISALIGNED, TGEN_BUSY. */
tgen_status ${name}_use_workspace(${name}_context *context, void *memory, int64_t bytes);

/* Writes the extents of an output (0 to ${name}_output_count() - 1) for these values of the symbols to `shape`, which has room for its rank.
 * TGEN_NULL_POINTER, TGEN_WRONG_OPTION (no such output). */
tgen_status ${name}_output_shape(int64_t output, const int64_t *symbols, int64_t *shape);

/* Runs the model. inputs, outputs: as many as the model has, in its order; outputs must not overlap inputs or each other. Shapes and pointers
 * are checked first; after a status other than TGEN_OK, TGEN_WRONG_VALUES and TGEN_INTERRUPTED nothing has been written to the outputs.
$found_outputs * TGEN_NULL_POINTER, TGEN_WRONG_SHAPE, TGEN_MISALIGNED, TGEN_SMALL_WORKSPACE, TGEN_NO_MEMORY, TGEN_BUSY, TGEN_WRONG_VALUES, TGEN_INTERRUPTED. */
tgen_status ${name}_run(${name}_context *context, const tgen_tensor *inputs, const tgen_tensor *outputs);

/* An output of the last run whose shape the run found out: its extents go to `shape`, which has room for its rank, and *data points to its
 * elements, one after the other, in memory of the context: until its next run or its end.
 * TGEN_NULL_POINTER, TGEN_WRONG_OPTION (no output, or one whose shape follows from the symbols). */
tgen_status ${name}_found(${name}_context *context, int64_t output, int64_t *shape, const void **data);

/* What exactly was wrong in the last call with this context that failed; "" if none has. Valid until the next such call. */
const char *${name}_message(const ${name}_context *context);

/* What a status means, for this library. Never NULL. */
const char *${name}_status_text(tgen_status status);

/* The inputs and outputs of the model, in call order, and its symbols: arrays that live as long as the library. */
int64_t ${name}_input_count(void);
int64_t ${name}_output_count(void);
int64_t ${name}_symbol_count(void);
const tgen_tensor_info *${name}_inputs(void);
const tgen_tensor_info *${name}_outputs(void);
const char *const *${name}_symbols(void);

/* The target whose code this context runs. */
const char *${name}_target(const ${name}_context *context);

/* The number of the code version that this CPU runs, in the manifest's order; -1: none. */
int32_t ${name}_version(void);

/* The manifest as JSON. */
const char *${name}_manifest(void);

#ifdef __cplusplus
}
#endif

#endif /* ${upper}_H */
"""


def header(library: Library) -> str:
    """The text of NAME.h."""
    name = library.name
    statuses = "\n".join(f"  TGEN_{s.name} = {s.value}{',' if s != max(Status) else ''} /* {STATUS_TEXTS[s]} */" for s in Status)
    common = string.Template(_COMMON).substitute(statuses=statuses, mask_words=MASK_BYTES // 8)
    return string.Template(_HEADER).substitute(
        name=name,
        upper=name.upper(),
        common=common,
        constants=_constants(library),
        found_outputs=_found(library),
        symbol_list=", ".join(library.symbols) or "none",
        tensors=_listed("inputs", library.inputs) + _listed("outputs", library.outputs),
    )


def _found(library: Library) -> str:
    names = [name for k, (name, _) in enumerate(library.outputs) if library.is_found(k)]
    if not names:
        return ""
    listed = _comment(", ".join(names))
    return f" * A run finds out the shape of {listed}: what is given for such outputs is not looked at; see {library.name}_found.\n"


def _constants(library: Library) -> str:
    lines = ["/* Places in the arrays of inputs, outputs and symbols. */"]
    for kind, names in (
        ("INPUT", [n for n, _ in library.inputs]),
        ("OUTPUT", [n for n, _ in library.outputs]),
        ("SYMBOL", library.symbols),
    ):
        lines.append(f"#define {library.name.upper()}_{kind}_COUNT {len(names)}")
        lines += [f"#define {library.name.upper()}_{kind}_{macro} {k}" for k, macro in enumerate(macro_names(names))]
    return "\n".join(lines) + "\n"


def macro_names(names: Sequence[str]) -> list[str]:
    """Names in capitals, as parts of C macros; what is no letter or digit becomes _, and what is taken gets its number."""
    made: list[str] = []
    for number, name in enumerate(names):
        macro = "".join(c if c.isascii() and c.isalnum() else "_" for c in name).upper()
        made.append(macro if macro not in (*made, "COUNT", "") else f"{macro}_{number}")
    return made


def _listed(title: str, specs: Sequence[tuple[str, TensorType]]) -> str:
    lines = [f" * {title}:\n"]
    for name, type_ in specs:
        dtype = str(type_.dtype.numpy)
        shape = ", ".join(map(str, type_.shape))
        lines.append(
            f" *   {_comment(name)}: {dtype}[{shape}], elements {C_TYPES.get(dtype, f'{type_.dtype.numpy.itemsize} bytes')}\n"
        )
    return "".join(lines)


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("\n", " ")
