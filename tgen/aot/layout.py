"""What the C interface and its generated code agree on: status codes, C structures, the context's memory. All offsets are in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from ..codegen.runtime import CPU_SET_BYTES
from ..frame import Frame


class Status(IntEnum):
    """What the functions of a library give back; the documentation of each is its text in the header."""

    OK = 0
    NULL_POINTER = 1
    WRONG_SHAPE = 2
    MISALIGNED = 3
    SMALL_WORKSPACE = 4
    NO_MEMORY = 5
    WRONG_CPU = 6
    NO_WEIGHTS = 7
    WRONG_WEIGHTS = 8
    BUSY = 9
    WRONG_OPTION = 10
    WRONG_VALUES = 11
    INTERRUPTED = 12


STATUS_TEXTS = {
    Status.OK: "done",
    Status.NULL_POINTER: "a pointer is NULL that must not be",
    Status.WRONG_SHAPE: "a tensor has another rank or shape than the model or the other tensors allow",
    Status.MISALIGNED: "a tensor's data or the workspace is not aligned: elements to their size, the workspace to 64 bytes",
    Status.SMALL_WORKSPACE: "the caller's workspace is too small for these shapes",
    Status.NO_MEMORY: "the system gives no memory",
    Status.WRONG_CPU: "this CPU, or the system on it, lacks the features that the library's code needs",
    Status.NO_WEIGHTS: "the weights file cannot be read",
    Status.WRONG_WEIGHTS: "the weights file belongs to another library, or is damaged",
    Status.BUSY: "another thread is in a run with this context",
    Status.WRONG_OPTION: "an option makes no sense",
    Status.WRONG_VALUES: "the values in the inputs are none that the model can work with, such as an index out of range",
    Status.INTERRUPTED: "the run was in a loop without a limit when SIGINT came",
}

# struct tgen_tensor: data, shape, strides, rank
TENSOR_BYTES = 32
TENSOR_DATA, TENSOR_SHAPE, TENSOR_STRIDES, TENSOR_RANK = 0, 8, 16, 24

# struct tgen_options: bytes of the structure, threads, words of the CPU set, check of the weights, CPU set, path of the weights file
OPTIONS_BYTES = 32
OPTION_BYTES, OPTION_THREADS, OPTION_CPU_WORDS, OPTION_CHECK, OPTION_CPUS, OPTION_WEIGHTS = 0, 4, 8, 12, 16, 24

MASK_BYTES = CPU_SET_BYTES  # a CPU set as Linux takes it, of 1,024 CPUs
MESSAGE_BYTES = 512
MOST_EXTENT = 1 << 40
MOST_BYTES = 1 << 46  # of memory for one run: beyond this a size is taken for a mistake


@dataclass(frozen=True)
class ContextLayout:
    """A context: what is said here, then a CPU set, the last message, the frame (at a multiple of 64)."""

    frame: Frame
    versions: int

    BUSY = 0
    THREADS = 8
    VERSION = 16
    WORKSPACE = 24
    WORKSPACE_BYTES = 32
    BORROWED = 40  # whether the workspace is the caller's
    WEIGHTS = 48
    MAPPED = 56  # what munmap takes; NULL where weights are embedded
    MASK = 64
    MESSAGE = MASK + MASK_BYTES
    FRAME = MESSAGE + MESSAGE_BYTES

    @property
    def bytes(self) -> int:
        return self.FRAME + -(-self.frame.words * 8 // 64) * 64
