"""Normalisations: statistics over a set of atoms put one bundle above the set; scale and shift are elementwise."""

from starcli.symmetry.derive.algebra import reduce
from starcli.symmetry.derive.call import Call, RuleResult, rule
from starcli.symmetry.derive.rules.shape import reshaped
from starcli.symmetry.derive.values import Value


def _channels(call: Call, *names: str) -> list[Value]:
    """The one-dimensional tensors among the arguments `names`, each placed on axis 1."""
    return [value.aligned([1], len(call.shape)) for name in names if (value := call.optional(name)) is not None]


@rule("batch_norm", "_native_batch_norm_legit_no_training", "instance_norm", "cudnn_batch_norm", "native_batch_norm")
def batch_norm(call: Call) -> RuleResult:
    """Normalisation with statistics of each channel."""
    merged = call.merge([call.value("input"), *_channels(call, "weight", "bias", "running_mean", "running_var")])
    return call.result([merged, *(Value(shape) for shape in call.shapes[1:])])


@rule("group_norm")
def group_norm(call: Call) -> RuleResult:
    """Normalisation of groups of channels: each group becomes a set."""
    x, groups = call.value("input"), call["num_groups"]
    split = reshaped(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
    reduce(call.atoms, split, [2])
    return call.merge([x, *_channels(call, "weight", "bias")])


@rule("layer_norm", "rms_norm", "native_layer_norm")
def layer_norm(call: Call) -> RuleResult:
    """Normalisation over the last axes, whose positions become one set."""
    x = call.value("input")
    reduce(call.atoms, x, range(len(x.shape) - len(call["normalized_shape"]), len(x.shape)))
    merged = call.merge([x, *(value for name in ("weight", "bias") if (value := call.optional(name)) is not None)])
    return call.result([merged, *(Value(shape) for shape in call.shapes[1:])])


@rule("softmax", "_softmax", "log_softmax", "_log_softmax", "_safe_softmax")
def softmax(call: Call) -> RuleResult:
    """A softmax along `dim`, whose positions become one set."""
    value = call.value("self")
    reduce(call.atoms, value, [call["dim"] % len(value.shape)])
    return value


@rule("_weight_norm", "_weight_norm_interface")
def weight_norm(call: Call) -> RuleResult:
    """A weight of given lengths, g v / |v|, each length over all axes but `dim` (-1: over all)."""
    v, g = call.value("v"), call.value("g")
    lengths = _length_except(call, v)
    return call.result([call.merge([v, lengths, g]), *(Value(shape, lengths.factors) for shape in call.shapes[1:])])


@rule("renorm")
def renormed(call: Call) -> RuleResult:
    """Slices along `dim` that are longer than a bound, scaled down to it."""
    value = call.value("self")
    return call.merge([value, _length_except(call, value)])


@rule("norm_except_dim")
def norm_except_dim(call: Call) -> RuleResult:
    """Lengths over all axes but `dim`, which keep size 1; over all of them (-1) a number."""
    v = call.value("v")
    lengths = _length_except(call, v)
    return lengths if call.shape else lengths.dropped(range(len(v.shape)))


def _length_except(call: Call, v: Value) -> Value:
    """The lengths of a tensor's slices along `dim`: any order within a slice gives the same."""
    return reduce(call.atoms, v, [axis for axis in range(len(v.shape)) if axis != call["dim"]], whole=False)
