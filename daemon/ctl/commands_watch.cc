// SPDX-License-Identifier: Apache-2.0
// watch: events as they happen.
#include <poll.h>

#include <iostream>

#include "daemon/ctl/program.h"
#include "daemon/ctl/signals.h"
#include "daemon/ctl/stream.h"
#include "daemon/ctl/views.h"

namespace mrlease::ctl {
namespace {

struct Watch {
  std::optional<std::uint64_t> from;
  std::vector<std::string> types;
  std::string file;
  std::uint64_t count = 0;  // 0: without end
};

std::vector<std::string> event_types() {
  std::vector<std::string> names;
  const auto* what = v1::Event::descriptor()->FindOneofByName("what");
  for (int i = 0; i < what->field_count(); ++i) names.push_back(what->field(i)->name());
  return names;
}

// Whether it was an event.
bool show(const Program& p, const v1::WatchEventsResponse& r) {
  if (p.json) std::cout << to_json(r, true) << std::flush;
  if (!p.json && r.has_event()) std::cout << view(r.event()) << std::endl;
  return r.has_event();
}

int watch(Program& p, const Watch& w) {
  Signals signals({SIGINT, SIGTERM});
  v1::WatchEventsRequest request;
  if (w.from) request.set_after_sequence(*w.from);
  for (const auto& t : w.types) request.add_types(t);
  if (!w.file.empty()) *request.mutable_file() = file_id(w.file);
  Client client = p.connect();
  auto context = client.unbounded();
  grpc::ClientContext* c = context.get();
  Stream<v1::WatchEventsResponse> stream(std::move(context), client.stub().WatchEvents(c, request));
  for (std::uint64_t seen = 0;;) {
    pollfd fds[] = {{signals.fd(), POLLIN, 0}, {stream.fd(), POLLIN, 0}};
    ::poll(fds, 2, -1);
    if (signals.take()) return kDone;
    if (!fds[1].revents) continue;
    bool ended = false;
    const auto message = stream.next(&ended);
    if (ended) throw client.failure(stream.status());
    if (message && show(p, *message) && ++seen == w.count) return kDone;
    if (!std::cout) return kDone;  // the reader of our output is gone
  }
}

}  // namespace

void add_watch_command(Program& p) {
  const auto w = std::make_shared<Watch>();
  CLI::App* sub = p.add("watch", "Tell what happens as it happens, until ^C", [&p, w] { return watch(p, *w); });
  sub->add_option("--from", w->from, "Begin behind this event's number, instead of now")->type_name("N");
  sub->add_option("--type", w->types, "Only events of this type (repeatable)")
      ->allow_extra_args(false)->type_name("WORD")->check(CLI::IsMember(event_types()));
  p.words["--type"] = event_types();
  sub->add_option("--file", w->file, "Only of this file")->type_name("FILE");
  sub->add_option("--count", w->count, "End after so many events")->type_name("N");
}

}  // namespace mrlease::ctl
