// Runs any artifact on its first input, zeros or the raw floats in a file, and prints the five
// largest elements of its first output: top5 [input.f32]
#include <algorithm>
#include <armlet.hpp>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <vector>

int main(int argc, char **argv) try {
    armlet::model model;
    std::vector<std::vector<char>> inputs;
    for (const armlet::tensor &input : armlet::inputs()) inputs.emplace_back(input.bytes);
    if (argc > 1) std::ifstream(argv[1], std::ios::binary).read(inputs[0].data(), inputs[0].size());
    for (std::size_t i = 0; i < inputs.size(); i++)
        model.set_input(i, inputs[i].data(), inputs[i].size());
    model.run();

    auto scores = model.output<float>(0);
    std::vector<std::size_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::size_t shown = std::min<std::size_t>(5, order.size());
    std::partial_sort(order.begin(), order.begin() + shown, order.end(),
                      [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
    for (std::size_t i = 0; i < shown; i++)
        std::printf("%zu. [%zu] = %g\n", i + 1, order[i], scores[order[i]]);
} catch (const armlet::error &e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
