"""The example that comes with a library: a C program that makes a context, runs the model on zeros and prints what came out."""

from __future__ import annotations

import string

from ..ir.dims import Apply, Dim
from .header import macro_names
from .model import Library

EXAMPLE_EXTENT = 8  # of each symbol, unless the program's arguments say otherwise

_EXAMPLE = """\
/* Runs $name once on inputs that are all 0, and prints the first elements of each output.
 *
 * $build_line
 * ./$name-example $usage
 */
#include "$name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A tensor of the symbols' sizes, full of zeros; the dimensions are computed as `$name.h` tells them. */
static tgen_tensor tensor(int64_t rank, const int64_t *shape, int64_t element_bytes) {
  tgen_tensor made = {NULL, shape, NULL, rank};
  size_t bytes = (size_t)element_bytes;
  for (int64_t axis = 0; axis < rank; ++axis) bytes *= (size_t)shape[axis];
  made.data = calloc(bytes ? bytes : 1, 1);
  if (made.data == NULL) {
    fprintf(stderr, "no memory\\n");
    exit(1);
  }
  return made;
}

static void must(tgen_status status, const ${name}_context *context) {
  if (status == TGEN_OK) return;
  fprintf(stderr, "%s: %s\\n", ${name}_status_text(status), ${name}_message(context));
  exit(1);
}

int main(int argc, char **argv) {
  /* the model's symbols: $symbol_list */
  int64_t symbols[$symbol_room] = {$defaults};
  for (int k = 0; k < $symbol_count && k + 1 < argc; ++k) symbols[k] = strtoll(argv[k + 1], NULL, 10);

  ${name}_context *context;
  must(${name}_create(NULL, &context), NULL);
  printf("$name runs code for %s\\n", ${name}_target(context));

$inputs
  const tgen_tensor_info *about = ${name}_outputs();
  tgen_tensor outputs[${upper}_OUTPUT_COUNT];
  int64_t shapes[${upper}_OUTPUT_COUNT][16];
  static const int found[] = {$found}; /* whether the run finds out the shape */
  for (int64_t k = 0; k < ${upper}_OUTPUT_COUNT; ++k) {
    memset(&outputs[k], 0, sizeof outputs[k]);
    if (found[k]) continue;
    must(${name}_output_shape(k, symbols, shapes[k]), context);
    outputs[k] = tensor(about[k].rank, shapes[k], about[k].element_bytes);
  }

  must(${name}_run(context, $input_array, outputs), context);

  for (int64_t k = 0; k < ${upper}_OUTPUT_COUNT; ++k) {
    const void *data = outputs[k].data;
    if (found[k]) must(${name}_found(context, k, shapes[k], &data), context);
    printf("%s %s[", about[k].name, about[k].dtype);
    int64_t count = 1;
    for (int64_t axis = 0; axis < about[k].rank; ++axis) {
      printf(axis ? ", %lld" : "%lld", (long long)shapes[k][axis]);
      count *= shapes[k][axis];
    }
    printf("]:");
    for (int64_t i = 0; i < count && i < 4 && strcmp(about[k].dtype, "float32") == 0; ++i)
      printf(" %g", (double)((const float *)data)[i]);
    printf("\\n");
    free(outputs[k].data);
  }
$frees  ${name}_destroy(context);
  return 0;
}
"""


def build_line(library: Library) -> str:
    """The command that makes the example, in the library's folder."""
    return f"cc -O2 example.c -L. -l{library.name} -Wl,-rpath,'$ORIGIN' -o {library.name}-example"


def example(library: Library) -> str:
    """The text of example.c."""
    inputs, frees = [], []
    for number, (name, type_) in enumerate(library.inputs):
        dims = [_c_dim(dim, library.symbols) for dim in type_.shape]
        inputs.append(
            f"  int64_t shape_{number}[{max(len(dims), 1)}] = {{{', '.join(dims) or '0'}}}; /* {name.replace('*/', '* /')} */"
        )
        frees.append(f"  free(inputs[{number}].data);\n")
    rows = ", ".join(f"tensor({t.rank}, shape_{k}, {int(t.dtype.numpy.itemsize)})" for k, (_, t) in enumerate(library.inputs))
    if library.inputs:
        inputs.append(f"  tgen_tensor inputs[] = {{{rows}}};")
    return string.Template(_EXAMPLE).substitute(
        name=library.name,
        upper=library.name.upper(),
        build_line=build_line(library),
        usage=" ".join(f"[{m}]" for m in macro_names(library.symbols)),
        symbol_list=", ".join(library.symbols) or "none",
        symbol_room=max(len(library.symbols), 1),
        symbol_count=len(library.symbols),
        defaults=", ".join(str(EXAMPLE_EXTENT) for _ in library.symbols) or "0",
        inputs="\n".join(inputs),
        found=", ".join(str(int(library.is_found(k))) for k in range(len(library.outputs))),
        input_array="inputs" if library.inputs else "NULL",
        frees="".join(frees),
    )


def _c_dim(dim: object, symbols: tuple[str, ...]) -> str:
    """A dimension as a C expression of `symbols[k]`: what input shapes are made of is symbols, and sums and products of them."""
    if not isinstance(dim, Dim):
        return str(dim)
    terms = []
    for atoms, factor in dim.terms:
        parts = [str(factor)] if factor != 1 or not atoms else []
        terms.append(" * ".join([*parts, *(_c_atom(a, symbols) for a in atoms)]))
    return " + ".join(terms)


def _c_atom(atom: object, symbols: tuple[str, ...]) -> str:
    if not isinstance(atom, Apply):
        return f"symbols[{symbols.index(str(atom))}]"
    a, b = _c_dim(atom.a, symbols), _c_dim(atom.b, symbols)
    operators = {
        "floordiv": f"({a}) / ({b})",
        "mod": f"({a}) % ({b})",
        "max": f"({a}) > ({b}) ? ({a}) : ({b})",
        "min": f"({a}) < ({b}) ? ({a}) : ({b})",
    }
    return f"({operators[atom.fn]})"
