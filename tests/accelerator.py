"""A device that is not the CPU, for tests on machines without one.

Its tensors are of PyTorch's `meta` device, which only knows shapes; their values lie in memory of the CPU behind each
storage, where every operator is done in their place. So code runs on it as on a GPU, to the end and with true values,
and what a GPU would refuse or wait for is noted with file and line:

- a CPU tensor in one operator with the device's,
- a host read: `.item()`, `bool(tensor)`, what sizes its result by values, and a copy to the CPU that blocks,
- a blocking copy to the device: of a tensor without `non_blocking`, of Python numbers by `torch.tensor(...)` or by
  assignment (which a CUDA tensor takes by way of a CPU tensor).

What it does not know: kernels that a GPU lacks, streams, pinned memory, and a GPU's rounding. `torch.autocast` does not
take the meta device; a short list of what CUDA casts stands for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from samsod.benchmarks.counts import tensors_in
from tests.places import ROOT

DEVICE = torch.device("meta")
aten = torch.ops.aten

SHORTENED = (
    *(F.linear, torch.conv2d, torch.conv_transpose2d, F.scaled_dot_product_attention),
    *(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, torch.addmm, torch.baddbmm),
)
"""What CUDA's autocast does in the shorter type; and what in float32."""
WIDENED = (F.layer_norm, torch.softmax, F.softmax, Tensor.softmax, torch.sum, Tensor.sum, Tensor.pow, Tensor.__pow__)


class DeviceAdam(torch.optim.Adam):
    """Adam of plain operators in the place of PyTorch's fused kernel, which the meta device has not.

    As the kernel does it takes loss scale and verdict on the device, and leaves all as it is when gradients overflow.
    """

    _step_supports_amp_scaling = True  # by this `GradScaler.step` knows an optimizer that does

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        overflow, scale = getattr(self, "found_inf", None), getattr(self, "grad_scale", None)
        for group in self.param_groups:
            parameters: list[Tensor] = group["params"]
            for p in parameters:
                if not self.state[p]:
                    self.state[p]["step"] = torch.zeros((), device=p.device)
                    self.state[p] |= {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
            steps, means, squares = ([self.state[p][k] for p in parameters] for k in ("step", "exp_avg", "exp_avg_sq"))
            gradients = [p.grad for p in parameters if p.grad is not None]
            if scale is not None:
                gradients = [torch.nan_to_num(gradient / scale) for gradient in gradients]
            goes_on = torch.ones((), device=parameters[0].device) if overflow is None else 1 - overflow
            first, second = group["betas"]
            torch._foreach_add_(steps, [goes_on] * len(steps))
            for averages, new, kept in ((means, gradients, first), (squares, [g * g for g in gradients], second)):
                changes = torch._foreach_sub(new, averages)
                torch._foreach_mul_(changes, goes_on * (1 - kept))
                torch._foreach_add_(averages, changes)
            deviations = torch._foreach_sqrt(torch._foreach_div(squares, [1 - second**step for step in steps]))
            torch._foreach_add_(deviations, group["eps"])
            changes = torch._foreach_div(torch._foreach_div(means, [1 - first**step for step in steps]), deviations)
            torch._foreach_mul_(changes, goes_on * group["lr"])
            torch._foreach_sub_(parameters, changes)


class Fault(NamedTuple):
    """Something a GPU would refuse or wait for."""

    what: str
    where: str
    operator: str


class Accelerator:
    """The device, while the block runs.

    Attributes:
        plain: Whether what is noted now is a fault; otherwise only what a GPU would refuse is.
        faults: What was noted.
        operators: How many operators were launched on the device.
    """

    def __init__(self) -> None:
        self.plain = True
        self.faults: list[Fault] = []
        self.operators = 0
        self.types: list[torch.dtype | None] = [None]

    @contextmanager
    def running(self) -> Iterator[torch.device]:
        """Makes the device usable."""
        true_autocast = torch.autocast
        torch.autocast = self._autocast  # type: ignore[assignment, misc]
        try:
            with _Functions(self), _Operators(self):
                yield DEVICE
        finally:
            torch.autocast = true_autocast  # type: ignore[misc]

    def may_wait(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, which may wait for the device."""

        def waiting(*args: Any, **kwargs: Any) -> Any:
            before, self.plain = self.plain, False
            try:
                return work(*args, **kwargs)
            finally:
                self.plain = before

        return waiting

    def note(self, what: str, operator: object, always: bool = False) -> None:
        """Notes a fault at the innermost line of the project's."""
        if self.plain or always:
            self.faults.append(Fault(what, _where(), str(operator)))

    @contextmanager
    def _autocast(self, device_type: str, dtype: torch.dtype | None = None, enabled: bool = True) -> Iterator[None]:
        assert device_type == DEVICE.type, "the model is not on the device"
        self.types.append(dtype if enabled else None)
        try:
            yield
        finally:
            self.types.pop()


class _Functions(TorchFunctionMode):
    """What does not reach the dispatcher: Python numbers on their way to the device, and autocast."""

    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__()
        self.accelerator = accelerator

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        short = self.accelerator.types[-1]
        if short and func in SHORTENED:
            args, kwargs = _mapped((args, kwargs), lambda t: t.to(short) if t.is_floating_point() else t)
        elif short and func in WIDENED:
            args, kwargs = _mapped((args, kwargs), lambda t: t.float() if t.dtype == short else t)
        elif func is Tensor.__setitem__ and args[0].device == DEVICE and not isinstance(args[2], Tensor):
            self.accelerator.note("a blocking copy of Python numbers to the device", "assignment")
        elif func in (torch.tensor, torch.as_tensor) and not isinstance(args[0], Tensor):
            device = torch.device(kwargs.pop("device", None) or "cpu")
            if device == DEVICE:
                self.accelerator.note("a blocking copy of Python numbers to the device", "torch.tensor")
            return func(*args, **kwargs).to(device, non_blocking=True)
        return func(*args, **kwargs)


class _Operators(TorchDispatchMode):
    """Every operator of the device, done on the memory behind it."""

    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__()
        self.accelerator = accelerator

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if torch.is_inference_mode_enabled():  # there operators come whole that are made of others
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        tensors = list(tensors_in((args, kwargs)))
        there = [tensor for tensor in tensors if tensor.device == DEVICE]
        target = torch.device(kwargs["device"]) if kwargs.get("device") else None
        if func is aten.copy_.default and args[0].device != args[1].device:
            return self._copy_over(func, *args)
        if func is aten._to_copy.default and target and target != args[0].device:
            return self._copy_away(func, args[0], kwargs, target)
        if not there and target != DEVICE:
            return func(*args, **kwargs)
        self.accelerator.operators += 1
        if len(there) < len(tensors):
            self.accelerator.note("a CPU tensor meets the device's", func, always=True)
        if _reads(func, args):
            self.accelerator.note("a host read", func)
        return self._on_device(func, args, kwargs)

    def _on_device(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        there: dict[int, Tensor] = {}
        owners: dict[int, Tensor] = {}

        def values(tensor: Tensor) -> Tensor:
            behind = _values(tensor)
            if tensor.device == DEVICE:
                there[id(behind)] = tensor
                owners[behind.untyped_storage().data_ptr()] = tensor
            return behind

        def device_tensor(value: Tensor) -> Tensor:
            if (found := there.get(id(value))) is not None:  # changed in place, its shape too, it may be
                return found.as_strided_(value.size(), value.stride(), value.storage_offset())
            return _device_tensor(value, owners.get(value.untyped_storage().data_ptr()))

        args, kwargs = _mapped((args, kwargs), values)
        return _mapped(func(*args, **(kwargs | {"device": "cpu"} if "device" in kwargs else kwargs)), device_tensor)

    def _copy_over(self, func: Any, to: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
        self._note_copy(func, to.device, non_blocking)
        _values(to).copy_(_values(source))
        return to

    def _copy_away(self, func: Any, source: Tensor, kwargs: dict[str, Any], target: torch.device) -> Tensor:
        self._note_copy(func, target, kwargs.get("non_blocking", False))
        value: Tensor = func(_values(source), **{**kwargs, "device": torch.device("cpu")})
        if target != DEVICE:
            return value
        return _device_tensor(value)

    def _note_copy(self, func: Any, target: torch.device, non_blocking: bool) -> None:
        if not non_blocking:
            self.accelerator.note("a blocking copy to the device" if target == DEVICE else "a host read", func)


def _reads(func: Any, args: Any) -> bool:
    """Whether an operator's result must be known by the host: a value, or a size that depends on values."""
    if func in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default):
        return any(t.dtype in (torch.bool, torch.uint8) for t in tensors_in(args[1]))
    return torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags


def _values(tensor: Tensor) -> Tensor:
    """The CPU tensor behind one of the device's: the same part of the memory behind its storage."""
    if tensor.device != DEVICE:
        return tensor
    storage: Any = tensor.untyped_storage()
    if not hasattr(storage, "values"):
        storage.values = torch.UntypedStorage(storage.nbytes())
    return _part_of(storage.values, tensor)


def _device_tensor(value: Tensor, owner: Tensor | None = None) -> Tensor:
    """The device's tensor that has `value` behind it: a view of `owner`, or of new memory."""
    size = value.untyped_storage().nbytes()
    if owner is None or not size:
        storage: Any = torch.UntypedStorage(size, device=DEVICE)
        storage.values = value.untyped_storage()
        return _part_of(storage, value)
    if owner.dtype != value.dtype:
        return _part_of(owner.untyped_storage(), value)
    # In inference mode only this keeps a view of the parameters what it is.
    return owner.as_strided(value.size(), value.stride(), value.storage_offset())


def _part_of(storage: torch.UntypedStorage, like: Tensor) -> Tensor:
    part = torch.empty(0, dtype=like.dtype, device=storage.device)
    return part.set_(storage, like.storage_offset(), like.size(), like.stride())


def _mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {key: _mapped(item, change) for key, item in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(_mapped(item, change) for item in tree)
    return tree


def on_cpu(tree: Any) -> Any:
    """What `torch.save` makes of a GPU's tensors; of the meta device's it would write shapes alone."""
    return _mapped(tree, lambda tensor: tensor.detach().cpu())


def _where() -> str:
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and path != Path(__file__) and ".venv" not in path.parts:
            return f"{path.relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "?"
