/* Simulation with FIFOs of the chosen depths: every stage is a coroutine that gives way when a stream is empty or full.

   What a network of such processes computes, and whether it gets stuck, does not depend on the order in which they run
   (Kahn 1974; a full FIFO is a missing token on a channel back): one order is a proof for all. If no process can go on,
   that is a deadlock: the program says who waits for what and ends with status 3. */
#ifndef DNNCC_HLS_BOUNDED_H
#define DNNCC_HLS_BOUNDED_H

#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#define DNNCC_HLS_BOUNDED 1

namespace dnncc {

struct process {
  std::function<void()> body;
  std::vector<char> stack;
  ucontext_t context;
  std::string name, waiting;
  bool done = false;
};

inline int &frames() {
  static int count = 1;
  return count;
}

struct scheduler {
  std::vector<std::unique_ptr<process>> processes;
  ucontext_t home;
  process *current = nullptr;
  unsigned long long moved = 0;

  static scheduler &get() {
    static scheduler one;
    return one;
  }

  static void enter() {
    scheduler &s = get();
    s.current->body();
    s.current->done = true;
    swapcontext(&s.current->context, &s.home);
  }

  void start(const char *name, std::function<void()> body) {
    processes.emplace_back(new process);
    process &p = *processes.back();
    p.name = name;
    p.body = body;
    p.stack.resize(1 << 22);
    getcontext(&p.context);
    p.context.uc_stack.ss_sp = p.stack.data();
    p.context.uc_stack.ss_size = p.stack.size();
    p.context.uc_link = &home;
    makecontext(&p.context, enter, 0);
  }

  void wait(const std::string &why) {
    current->waiting = why;
    swapcontext(&current->context, &home);
  }

  void run() {
    for (bool live = true; live;) {
      const unsigned long long before = moved;
      live = false;
      for (auto &p : processes) {
        if (p->done) continue;
        current = p.get();
        swapcontext(&home, &p->context);
        live = live || !p->done;
      }
      if (live && moved == before) {
        std::printf("DEADLOCK\n");
        for (auto &p : processes)
          if (!p->done) std::printf("  %s waits for %s\n", p->name.c_str(), p->waiting.c_str());
        std::exit(3);
      }
    }
    processes.clear();
  }
};

/* Without a depth there is always space: the streams outside of the network. */
template <typename T> class stream {
 public:
  explicit stream(const char *name, std::size_t depth = 0) : name_(name), depth_(depth) {}
  stream(const stream &) = delete;
  ~stream() {
    if (!data_.empty()) std::printf("LEFTOVER %s %zu\n", name_.c_str(), data_.size());
  }
  bool empty() const { return data_.empty(); }
  T read() {
    while (data_.empty()) scheduler::get().wait("a word in " + name_);
    const T word = data_.front();
    data_.pop_front();
    ++scheduler::get().moved;
    return word;
  }
  void write(const T &word) {
    while (depth_ && data_.size() >= depth_) scheduler::get().wait("space in " + name_);
    data_.push_back(word);
    ++scheduler::get().moved;
  }

 private:
  std::string name_;
  std::size_t depth_;
  std::deque<T> data_;
};

template <typename T, int DEPTH> class fifo : public stream<T> {
 public:
  explicit fifo(const char *name) : stream<T>(name, DEPTH) {}
};
}

#define DNNCC_STAGE(...)                                                    \
  dnncc::scheduler::get().start(#__VA_ARGS__, [&] {                         \
    for (int frame = 0; frame < dnncc::frames(); ++frame) { __VA_ARGS__; }  \
  })
#define DNNCC_RECORD(name)
#define DNNCC_RUN() dnncc::scheduler::get().run();

#endif
