// Runs a fuzz target over the files of the folders named, where libFuzzer is not linked: keeps targets and corpus
// alive.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  std::size_t inputs = 0;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      std::string bytes((std::istreambuf_iterator<char>(in)), {});
      // Each input also cut short and with each early byte flipped: a little of what the fuzzer does.
      for (std::size_t cut = 0; cut <= bytes.size(); cut += 1 + bytes.size() / 97) {
        LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), cut);
      }
      for (std::size_t at = 0; at < bytes.size() && at < 512; ++at) {
        std::string bent = bytes;
        bent[at] = static_cast<char>(bent[at] ^ (1 << (at % 8)));
        LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bent.data()), bent.size());
      }
      ++inputs;
    }
  }
  std::printf("%zu inputs replayed\n", inputs);
  return inputs == 0 ? 1 : 0;
}
