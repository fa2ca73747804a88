// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/bench/entries.h"

#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <system_error>

namespace mrlease::bench {
namespace {

std::uintptr_t begin = 0, end = 0;  // the library's code
std::atomic<int> entered{0};

bool set_protection(int protection) { return ::mprotect(reinterpret_cast<void*>(begin), end - begin, protection) == 0; }

int find_code(dl_phdr_info* object, std::size_t, void* symbol) {
  const auto wanted = reinterpret_cast<std::uintptr_t>(symbol);
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr)& part = object->dlpi_phdr[i];
    const std::uintptr_t from = object->dlpi_addr + part.p_vaddr, to = from + part.p_memsz;
    if (part.p_type != PT_LOAD || (part.p_flags & PF_X) == 0 || wanted < from || wanted >= to) continue;
    begin = from & ~(page - 1);
    end = (to + page - 1) & ~(page - 1);
    return 1;
  }
  return 0;
}

void on_fault(int, siginfo_t* fault, void*) {
  const auto at = reinterpret_cast<std::uintptr_t>(fault->si_addr);
  if (at < begin || at >= end) {  // somebody's mistake: it comes again, and ends the program
    ::signal(SIGSEGV, SIG_DFL);
    return;
  }
  const int saved = errno;
  entered = 1;
  set_protection(PROT_READ | PROT_EXEC);
  errno = saved;
}

}  // namespace

void watch_library_of(void* symbol) {
  if (symbol == nullptr || dl_iterate_phdr(find_code, symbol) != 1)
    throw std::system_error(ENOENT, std::generic_category(), "the library's code");
  struct sigaction act{};
  act.sa_sigaction = on_fault;
  act.sa_flags = SA_SIGINFO;
  if (::sigaction(SIGSEGV, &act, nullptr) != 0) throw std::system_error(errno, std::generic_category(), "sigaction");
}

void close_library() {
  entered = 0;
  if (!set_protection(PROT_READ)) throw std::system_error(errno, std::generic_category(), "mprotect");
}

int open_library() {
  if (!set_protection(PROT_READ | PROT_EXEC)) throw std::system_error(errno, std::generic_category(), "mprotect");
  return entered;
}

}  // namespace mrlease::bench
