/* C simulation, one stage after the other, that records what went through every stream.
   Files NAME.bin in the working directory: int64, the elements of all frames in order. */
#ifndef DNNCC_HLS_RECORD_H
#define DNNCC_HLS_RECORD_H

#include <hls_stream.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace dnncc {
template <typename T> using stream = hls::stream<T>;
template <typename T, int DEPTH> using fifo = hls::stream<T>;

template <typename T> void record(const char *name, hls::stream<T> &stream) {
  std::vector<std::int64_t> values;
  const std::size_t words = stream.size();
  for (std::size_t i = 0; i < words; ++i) {
    const T word = stream.read();
    for (int lane = 0; lane < T::lanes; ++lane) values.push_back(static_cast<std::int64_t>(word.data[lane]));
    stream.write(word);
  }
  std::FILE *file = std::fopen((std::string(name) + ".bin").c_str(), "ab");
  if (file == nullptr || std::fwrite(values.data(), sizeof values[0], values.size(), file) != values.size()) {
    std::perror(name);
    std::exit(2);
  }
  std::fclose(file);
}
}

#define DNNCC_STAGE(...) __VA_ARGS__
#define DNNCC_RECORD(name) dnncc::record(#name, name);
#define DNNCC_RUN()

#endif
