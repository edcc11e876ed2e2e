// A device that calls itself CUDA and is made of ordinary memory: every operation on its tensors is
// the processor's, on the same bytes. As on a GPU, tensors of two devices do not mix.

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using at::Tensor;
using c10::IValue;
using torch::jit::Stack;

namespace {

const c10::Device kDevice(c10::DeviceType::CUDA, 0);
constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::CUDA);

// Work is done when a call returns, so streams and events have nothing to wait for.
struct Guard final : c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA> {
  static c10::Stream only() { return c10::Stream(c10::Stream::DEFAULT, kDevice); }
  c10::Device getDevice() const override { return kDevice; }
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  c10::Stream getStream(c10::Device) const noexcept override { return only(); }
  c10::Stream getDefaultStream(c10::Device) const override { return only(); }
  c10::Stream getNewStream(c10::Device, int) const override { return only(); }
  c10::Stream getStreamFromGlobalPool(c10::Device, bool) const override { return only(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return only(); }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeDevice(c10::DeviceIndex) const override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
  void record(void** event, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {
    *event = const_cast<Guard*>(this);  // any address: an event that was recorded has one
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override {}
  void destroyEvent(void*, c10::DeviceIndex) const noexcept override {}
};

struct CUDAHooks final : at::CUDAHooksInterface {
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
};

struct Allocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* memory = bytes ? c10::alloc_cpu(bytes) : nullptr;
    return {memory, memory, &c10::free_cpu, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &c10::free_cpu; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
} allocator;

bool on_device(const Tensor& t) { return t.defined() && t.is_cuda(); }

// The same bytes, as a tensor of the processor.
Tensor on_processor(const Tensor& t) {
  if (!on_device(t)) return t;
  const auto length = static_cast<int64_t>(t.storage().nbytes() / t.element_size());
  auto all = at::from_blob(
      t.storage().mutable_data(), {length}, t.options().device(at::kCPU));
  return all.as_strided(t.sizes(), t.strides(), t.storage_offset());
}

// The same bytes, as a tensor of the device; they live as long as it does.
Tensor from_processor(const Tensor& t) {
  if (!t.defined()) return t;
  const auto storage = t.storage();
  c10::DataPtr memory(
      storage.mutable_data(),
      new Tensor(t),
      [](void* owner) { delete static_cast<Tensor*>(owner); },
      kDevice);
  auto made = at::detail::make_tensor<c10::TensorImpl>(
      c10::Storage(
          c10::Storage::use_byte_size_t(), storage.nbytes(), std::move(memory), &allocator, true),
      kKeys,
      t.dtype());
  made.unsafeGetTensorImpl()->set_sizes_and_strides(t.sizes(), t.strides(), t.storage_offset());
  return made;
}

Tensor empty(
    at::IntArrayRef size,
    std::optional<at::ScalarType> type,
    std::optional<at::Layout>,
    std::optional<at::Device>,
    std::optional<bool>,
    std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(
      size, &allocator, kKeys, c10::dtype_or_default(type), format);
}

Tensor empty_strided(
    at::IntArrayRef size,
    at::IntArrayRef stride,
    std::optional<at::ScalarType> type,
    std::optional<at::Layout>,
    std::optional<at::Device>,
    std::optional<bool>) {
  return at::detail::empty_strided_generic(
      size, stride, &allocator, kKeys, c10::dtype_or_default(type));
}

const Tensor& resize_(
    const Tensor& self, at::IntArrayRef size, std::optional<at::MemoryFormat>) {
  const size_t bytes = c10::multiply_integers(size) * self.element_size();
  const auto& storage = self.storage();
  if (storage.nbytes() < bytes) {
    auto memory = allocator.allocate(bytes);
    if (storage.nbytes()) std::memcpy(memory.get(), storage.data(), storage.nbytes());
    storage.unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(memory));
    storage.unsafeGetStorageImpl()->set_nbytes(bytes);
  }
  self.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  return self;
}

Tensor& set_(
    Tensor& self,
    at::Storage source,
    int64_t offset,
    at::IntArrayRef size,
    at::IntArrayRef stride) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(source));
  if (stride.empty()) {
    impl->set_sizes_contiguous(size);
    impl->set_storage_offset(offset);
  } else {
    impl->set_sizes_and_strides(size, stride, offset);
  }
  return self;
}

Tensor view(const Tensor& self, c10::SymIntArrayRef size) {
  return at::native::view(self, C10_AS_INTARRAYREF_SLOW(size));
}

Tensor& copy_(Tensor& to, const Tensor& from, bool) {
  on_processor(to).copy_(on_processor(from));
  return to;
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  on_processor(to).copy_(on_processor(from));
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  if (to.sizes() != from.sizes()) to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar item(const Tensor& self) { return on_processor(self).item(); }

std::vector<Tensor> tensors(const IValue& value) {
  if (value.isTensor()) return {value.toTensor()};
  if (value.isTensorList()) return value.toTensorVector();
  return {};
}

// As on a GPU: one device for all, but that a number may come from anywhere and a place to look up
// (aten::index and its like, from the second argument on) from the processor.
void check_devices(const c10::FunctionSchema& schema, const std::vector<IValue>& arguments) {
  const auto& name = schema.name();
  const bool looks_up = name == "aten::index" || name == "aten::index_put_" ||
      name == "aten::_index_put_impl_" || name == "aten::_unsafe_index";
  bool processor = false, device = false;
  for (size_t i = 0; i < (looks_up ? 1 : arguments.size()); ++i) {
    for (const auto& t : tensors(arguments[i])) {
      processor |= t.defined() && t.is_cpu() && t.dim() > 0;
      device |= on_device(t);
    }
  }
  TORCH_CHECK(
      !(processor && device),
      "Expected all tensors to be on the same device, but found two in ",
      schema);
}

IValue moved(const IValue& value) {
  if (value.isTensor()) return on_processor(value.toTensor());
  if (value.isDevice()) return c10::Device(at::kCPU);
  if (value.isTensorList()) {
    c10::List<Tensor> list;
    for (const auto& t : value.toTensorVector()) list.push_back(on_processor(t));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<Tensor>> list;
    for (std::optional<Tensor> t : value.toOptionalTensorList()) {
      list.push_back(t ? std::optional<Tensor>(on_processor(*t)) : std::nullopt);
    }
    return list;
  }
  return value;
}

// Any operation: the processor's kernel on the same bytes.
void compute(const c10::OperatorHandle& op, Stack* stack) {
  const auto& schema = op.schema();
  const size_t count = schema.arguments().size();
  const std::vector<IValue> given(stack->end() - count, stack->end());
  check_devices(schema, given);

  // What is written to may have to grow, which borrowed bytes cannot.
  const auto written = [&](size_t i) {
    const auto* alias = schema.arguments()[i].alias_info();
    return alias && alias->isWrite() && given[i].isTensor() && on_device(given[i].toTensor());
  };
  std::vector<IValue> used;
  for (size_t i = 0; i < count; ++i) {
    const bool grows = written(i) && given[i].toTensor().numel() == 0;
    used.push_back(
        grows ? IValue(at::empty(given[i].toTensor().sizes(), at::TensorOptions(given[i].toTensor().scalar_type())))
              : moved(given[i]));
  }
  std::copy(used.begin(), used.end(), stack->end() - count);
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);

  for (size_t i = 0; i < count; ++i) {
    if (!written(i)) continue;
    const auto own = given[i].toTensor(), result = used[i].toTensor();
    if (own.sizes() != result.sizes() || own.numel() == 0) {
      resize_(own, result.sizes(), std::nullopt);
      on_processor(own).copy_(result);
    }
  }
  const auto returned = [&](const Tensor& t) {
    for (size_t i = 0; i < count; ++i) {
      if (written(i) && used[i].toTensor().is_same(t)) return given[i].toTensor();
    }
    return from_processor(t);
  };
  for (auto value = stack->end() - schema.returns().size(); value != stack->end(); ++value) {
    if (value->isTensor()) {
      *value = returned(value->toTensor());
    } else if (value->isTensorList()) {
      c10::List<Tensor> list;
      for (const auto& t : value->toTensorVector()) list.push_back(returned(t));
      *value = list;
    }
  }
}

}  // namespace

namespace c10::impl {
C10_REGISTER_GUARD_IMPL(CUDA, Guard)
}
namespace at {
REGISTER_CUDA_HOOKS(CUDAHooks);
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", TORCH_FN(empty));
  library.impl("empty_strided", TORCH_FN(empty_strided));
  library.impl("resize_", TORCH_FN(resize_));
  library.impl("set_.source_Storage_storage_offset", TORCH_FN(set_));
  library.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  library.impl("view", TORCH_FN(view));
  library.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  library.impl("unfold", TORCH_FN(at::native::unfold));
  library.impl("copy_", TORCH_FN(copy_));
  library.impl("_copy_from", TORCH_FN(copy_from));
  library.impl("_copy_from_and_resize", TORCH_FN(copy_from_and_resize));
  library.impl("_local_scalar_dense", TORCH_FN(item));
}
TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&compute>());
}
