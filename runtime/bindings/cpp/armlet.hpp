/* armlet.hpp: the C++17 interface of an artifact, header only, on top of armlet.h.
 *
 *     armlet::model model;
 *     model.set_input(0, image.data(), image.size());
 *     model.run();
 *     for (float score : model.output<float>(0)) ...
 *
 * A model is an armlet_instance: a program makes one for each thread that runs the model, and all
 * share the weights. What fails throws armlet::error, with the reason. Types of elements are
 * checked: asking for float where the model has int8 is an error, not garbage. */
#ifndef ARMLET_HPP
#define ARMLET_HPP

#include <armlet.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace armlet {

class error : public std::runtime_error {
public:
    error(armlet_status status, const std::string &reason)
        : std::runtime_error(reason), status_(status) {}
    armlet_status status() const noexcept { return status_; }

private:
    armlet_status status_;
};

/* Elements in a row that somebody else owns; std::span for C++17. */
template <class T> class span {
public:
    span() = default;
    span(T *data, std::size_t size) : data_(data), size_(size) {}
    template <class C, class = decltype(static_cast<T *>(std::declval<C &>().data()))>
    span(C &container) : data_(container.data()), size_(container.size()) {}

    T *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    T *begin() const noexcept { return data_; }
    T *end() const noexcept { return data_ + size_; }
    T &operator[](std::size_t i) const { return data_[i]; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

struct tensor {
    std::string_view name;
    span<const std::int64_t> shape;
    armlet_dtype dtype;
    std::size_t bytes;
};

namespace detail {

/* The armlet_dtype of T, or 0: then only the size is compared, as for a type for float16. */
template <class T> constexpr int dtype_of() {
    using U = std::remove_cv_t<T>;
    if constexpr (std::is_same_v<U, float>) return ARMLET_FLOAT32;
    else if constexpr (std::is_same_v<U, double>) return ARMLET_FLOAT64;
    else if constexpr (std::is_same_v<U, std::int8_t>) return ARMLET_INT8;
    else if constexpr (std::is_same_v<U, std::int16_t>) return ARMLET_INT16;
    else if constexpr (std::is_same_v<U, std::int32_t>) return ARMLET_INT32;
    else if constexpr (std::is_same_v<U, std::int64_t>) return ARMLET_INT64;
    else if constexpr (std::is_same_v<U, std::uint8_t>) return ARMLET_UINT8;
    else if constexpr (std::is_same_v<U, std::uint32_t>) return ARMLET_UINT32;
    else if constexpr (std::is_same_v<U, std::uint64_t>) return ARMLET_UINT64;
    else if constexpr (std::is_same_v<U, bool>) return ARMLET_BOOL;
    else return 0;
}

inline std::vector<tensor> tensors(std::int32_t count,
                                   armlet_status (*describe)(std::int32_t, armlet_tensor_info *)) {
    std::vector<tensor> found;
    for (std::int32_t i = 0; i < count; i++) {
        armlet_tensor_info info{};
        info.struct_size = sizeof info;
        describe(i, &info);
        found.push_back({info.name,
                         {info.shape, static_cast<std::size_t>(info.rank)},
                         static_cast<armlet_dtype>(info.dtype),
                         info.bytes});
    }
    return found;
}

} // namespace detail

inline const std::vector<tensor> &inputs() {
    static const auto found = detail::tensors(armlet_input_count(), armlet_input_info);
    return found;
}

inline const std::vector<tensor> &outputs() {
    static const auto found = detail::tensors(armlet_output_count(), armlet_output_info);
    return found;
}

/* What the artifact is made of and for, as JSON. */
inline std::string_view manifest() {
    std::size_t size = 0;
    const char *text = armlet_manifest(&size);
    return {text, size};
}

/* What accelerators may do, of what the artifact has programs for. */
struct accelerators {
    armlet_devices devices = ARMLET_DEVICES_USE;
    std::string cache; /* a folder for programs that drivers compiled; "": none */
    std::uint32_t max_kernel_ms = 0;
};

/* A part of the model that an accelerator may do, and whether it does: as armlet_region_info. */
struct region {
    std::string_view name, back_end;
    std::string reason;
    bool live;
};

class model {
public:
    /* `threads`: 0 uses every CPU; `cpus` places them, one number a thread. */
    explicit model(std::int32_t threads = 0, const std::vector<std::int32_t> &cpus = {},
                   const accelerators &use = {}) {
        char why[256] = "";
        armlet_options options{};
        options.struct_size = sizeof options;
        options.threads = threads;
        options.cpus = cpus.empty() ? nullptr : cpus.data();
        options.cpu_count = cpus.size();
        options.message = why;
        options.message_size = sizeof why;
        options.devices = use.devices;
        options.max_kernel_ms = use.max_kernel_ms;
        options.device_cache = use.cache.empty() ? nullptr : use.cache.c_str();
        armlet_instance *made = nullptr;
        armlet_status status = armlet_create(&options, &made);
        if (status != ARMLET_OK) throw error(status, *why ? why : armlet_status_text(status));
        instance_.reset(made);
    }

    /* Runs read the input from `data` from now on, without a copy: it must stay. */
    template <class T> void set_input(int index, span<const T> data) {
        of(inputs(), index, detail::dtype_of<T>(), sizeof(T));
        check(armlet_set_input(get(), index, data.data(), data.size() * sizeof(T)));
    }
    template <class T> void set_input(int index, const T *data, std::size_t size) {
        set_input(index, span<const T>(data, size));
    }
    template <class T> void set_input(std::string_view name, span<const T> data) {
        set_input(index_of(inputs(), name), data);
    }

    /* Runs write the output to `data` from now on. */
    template <class T> void set_output(int index, span<T> data) {
        of(outputs(), index, detail::dtype_of<T>(), sizeof(T));
        check(armlet_set_output(get(), index, data.data(), data.size() * sizeof(T)));
    }
    template <class T> void set_output(std::string_view name, span<T> data) {
        set_output(index_of(outputs(), name), data);
    }

    void run() { check(armlet_run(get())); }

    /* From any thread: ends the run that is going on, which throws ARMLET_CANCELLED. */
    void cancel() noexcept { armlet_cancel(get()); }

    /* Where runs write the output. */
    template <class T> span<T> output(int index) {
        const tensor &t = of(outputs(), index, detail::dtype_of<T>(), sizeof(T));
        return {static_cast<T *>(armlet_output(get(), index)), t.bytes / sizeof(T)};
    }
    template <class T> span<T> output(std::string_view name) {
        return output<T>(index_of(outputs(), name));
    }

    std::int32_t threads() const noexcept { return armlet_thread_count(get()); }

    std::vector<region> regions() const {
        std::vector<region> found;
        for (std::int32_t i = 0; i < armlet_region_count(); i++) {
            armlet_region_info info{};
            info.struct_size = sizeof info;
            check(armlet_region(get(), i, &info));
            found.push_back({info.name, info.back_end, info.reason, info.live != 0});
        }
        return found;
    }

    /* Compares the answers on this machine with those of the source model. */
    void selftest() { check(armlet_selftest(get(), nullptr)); }

    /* For the rest of armlet.h. */
    armlet_instance *get() const noexcept { return instance_.get(); }

private:
    struct destroy {
        void operator()(armlet_instance *instance) const noexcept { armlet_destroy(instance); }
    };

    void check(armlet_status status) const {
        if (status == ARMLET_OK) return;
        const char *reason = armlet_error(get());
        throw error(status, *reason ? reason : armlet_status_text(status));
    }

    static const tensor &of(const std::vector<tensor> &tensors, int index, int dtype,
                            std::size_t width) {
        if (index < 0 || static_cast<std::size_t>(index) >= tensors.size())
            throw error(ARMLET_ERROR_ARGUMENT, "there is no tensor " + std::to_string(index));
        const tensor &t = tensors[static_cast<std::size_t>(index)];
        if ((dtype && dtype != t.dtype) || t.bytes % width != 0)
            throw error(ARMLET_ERROR_ARGUMENT, std::string(t.name) + " has another element type");
        return t;
    }

    static int index_of(const std::vector<tensor> &tensors, std::string_view name) {
        for (std::size_t i = 0; i < tensors.size(); i++)
            if (tensors[i].name == name) return static_cast<int>(i);
        throw error(ARMLET_ERROR_ARGUMENT, "there is no tensor named " + std::string(name));
    }

    std::unique_ptr<armlet_instance, destroy> instance_;
};

} // namespace armlet

#endif
