// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/resolve.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <climits>
#include <cstdlib>
#include <cstring>

#include "daemon/session/descriptors.h"
#include "daemon/sys/mounts.h"
#include "daemon/sys/own_proc.h"

namespace mrlease::admin {

namespace {

grpc::Status from_errno(const std::string& field, int code) {
  const auto kind = code == ENOENT || code == ENOTDIR ? grpc::StatusCode::NOT_FOUND : grpc::StatusCode::FAILED_PRECONDITION;
  return {kind, field + ": " + std::strerror(code)};
}

// fstat of a file on NFS or FUSE can hang; whoever calls this has decided that it may, or look_up() has looked.
grpc::Status refuse_slow(const std::string& field, int fd) {
  const auto mounts = sys::read_mounts();
  const sys::Mount* mount = sys::find_mount(mounts, sys::mount_id(fd));
  if (mount == nullptr || !session::may_block(mount->type)) return {};
  return {grpc::StatusCode::FAILED_PRECONDITION,
          field + ": files on " + mount->type + " cannot be leased: the daemon could be made to wait for them"};
}

}  // namespace

grpc::Status look_up(const std::string& field, const std::string& path, fence::SharedFd* by_path, core::FileKey* key) {
  const int fd = ::open(path.c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0) return from_errno(field, errno);
  *by_path = fence::SharedFd(fd);
  if (auto slow = refuse_slow(field, fd); !slow.ok()) return slow;
  struct stat st {};
  if (::fstat(fd, &st) != 0) return from_errno(field, errno);
  if (!S_ISREG(st.st_mode)) return invalid(field, "not a regular file");
  *key = {st.st_dev, st.st_ino};
  return {};
}

grpc::Status open_found(const std::string& field, const fence::SharedFd& by_path, fence::SharedFd* fd) {
  // O_NONBLOCK: a file lease of somebody else is not waited for.
  sys::Fd opened = sys::open_proc(("self/fd/" + std::to_string(by_path.get())).c_str(), O_RDONLY | O_NONBLOCK);
  if (!opened) return from_errno(field, errno);
  *fd = fence::SharedFd(opened.release());
  return {};
}

grpc::Status look_up_directory(const std::string& field, const std::string& path, fence::SharedFd* fd, std::string* canonical) {
  char* real = ::realpath(path.c_str(), nullptr);
  if (real == nullptr) return from_errno(field, errno);
  *canonical = real;
  std::free(real);
  const int opened = ::open(canonical->c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (opened < 0 && errno == ENOTDIR) return invalid(field, "not a directory");
  if (opened < 0) return from_errno(field, errno);
  *fd = fence::SharedFd(opened);
  return {};
}

grpc::Status Resolver::can_work() const {
  if (under_way_ < kWorkers) return {};
  return {grpc::StatusCode::RESOURCE_EXHAUSTED,
          std::to_string(under_way_) + " calls before this one still wait for file systems that do not answer; give files by device and inode"};
}

void Resolver::in_worker(std::function<void()> work, std::function<void()> then) {
  ++under_way_;
  workers_.run([this, work = std::move(work), then = std::move(then)] {
    work();
    asio::post(loop_, [this, then] {
      --under_way_;
      then();
    });
  });
}

void Resolver::in_worker(const CallPtr& call, std::function<void()> work, std::function<void()> then) {
  if (auto busy = can_work(); !busy.ok()) return call->finish(std::move(busy));
  in_worker(std::move(work), [call, then = std::move(then)] {
    if (!call->over()) then();
  });
}

void Resolver::resolve(const std::string& field, const FileName& name, Wants wants, std::function<void(grpc::Status, Target)> then) {
  struct Found { grpc::Status status; fence::SharedFd by_path; Target target; };
  if (name.key) {
    Target target{*name.key, view_.descriptor(*name.key)};
    if (target.fd || view_.file(*name.key)) return then({}, std::move(target));
    return then({grpc::StatusCode::NOT_FOUND, field + ": no file with this device and inode is leased; give its path"}, {});
  }
  if (auto busy = can_work(); !busy.ok()) return then(std::move(busy), {});
  auto found = std::make_shared<Found>();
  in_worker([=, path = name.path] { found->status = look_up(field + ".path", path, &found->by_path, &found->target.key); },
            [=, this] {
              if (!found->status.ok()) return then(found->status, {});
              found->target.fd = view_.descriptor(found->target.key);
              if (found->target.fd) return then({}, found->target);
              if (wants == Wants::Key) {
                found->target.fd = found->by_path;  // so that it has a name in the log
                return then({}, found->target);
              }
              in_worker([=] { found->status = open_found(field + ".path", found->by_path, &found->target.fd); },
                        [=] { then(found->status, found->target); });
            });
}

void Resolver::resolve(const CallPtr& call, const std::string& field, const FileName& name, Wants wants, std::function<void(Target)> then) {
  resolve(field, name, wants, [call, then = std::move(then)](grpc::Status status, Target target) {
    if (call->over()) return;
    if (!status.ok()) return call->finish(std::move(status));
    then(std::move(target));
  });
}

}  // namespace mrlease::admin
