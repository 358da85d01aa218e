/* Every part of armlet.hpp on the tiny model: x[8,64] -> y[8], z[8,64]. Prints y. */
#include <armlet.hpp>

#include <cstdio>
#include <thread>

#define CHECK(condition) \
    if (!(condition)) return std::printf("line %d: %s\n", __LINE__, #condition), 1

template <class F> static std::string failure(armlet_status status, F &&act) {
    try {
        act();
    } catch (const armlet::error &e) {
        return e.status() == status ? e.what() : "another status";
    }
    return "nothing thrown";
}

static int describe() {
    CHECK(armlet::inputs().size() == 1 && armlet::inputs()[0].name == "x");
    const armlet::tensor &z = armlet::outputs()[1];
    CHECK(z.name == "z" && z.dtype == ARMLET_FLOAT32 && z.bytes == 8 * 64 * 4);
    CHECK(z.shape.size() == 2 && z.shape[0] == 8 && z.shape[1] == 64);
    CHECK(armlet::manifest().find("tiny") != std::string_view::npos);
    return 0;
}

static int fail_well(armlet::model &m, std::vector<float> &x) {
    CHECK(failure(ARMLET_ERROR_INPUT, [&] { m.run(); }).find("x") != std::string::npos);
    CHECK(failure(ARMLET_ERROR_INPUT, [&] { m.set_input(0, x.data(), 3); }).find("bytes") !=
          std::string::npos);
    auto wrong_type = [&] { m.output<std::int32_t>(0); };
    CHECK(failure(ARMLET_ERROR_ARGUMENT, wrong_type) == "y has another element type");
    CHECK(failure(ARMLET_ERROR_ARGUMENT, [&] { m.output<float>("q"); }).find("named q") !=
          std::string::npos);
    CHECK(failure(ARMLET_ERROR_ARGUMENT, [&] { m.output<float>(2); }).find("tensor 2") !=
          std::string::npos);
    CHECK(armlet::model(1, {}, {ARMLET_DEVICES_REQUIRE, "/tmp", 4}).regions().empty());
    CHECK(failure(ARMLET_ERROR_ARGUMENT, [] { armlet::model bad(-1); }).find("threads is -1") == 0);
    return 0;
}

int main() {
    if (describe()) return 1;
    armlet::model made(2), m(std::move(made));
    std::vector<float> x(8 * 64), z(8 * 64);
    for (std::size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(i % 7) - 3;
    if (fail_well(m, x)) return 1;
    m.set_input<float>("x", x);
    m.set_output<float>("z", z);
    m.run();
    CHECK(m.output<float>("z").data() == z.data() && z[0] >= 1);
    CHECK(m.threads() == 2);
    m.selftest();
    std::thread([&] { m.cancel(); }).join();
    m.run();
    for (float value : m.output<float>(0)) std::printf("%.9g\n", static_cast<double>(value));
    return 0;
}
