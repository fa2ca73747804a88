// SPDX-License-Identifier: Apache-2.0
// Where the admin service listens. All throw std::system_error with a sentence.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "daemon/admin/options.h"

namespace mrlease::admin {

// Is there a Unix socket to be made? Then its directory is there and no living daemon has it.
bool prepare_socket(const std::string& path);
// Mutual TLS, with files that are read again when they change.
std::shared_ptr<grpc::ServerCredentials> tls_credentials(const Options& options);
// "127.0.0.1:9464", "[::1]:9464", "host:9464": wrong ones are refused before a library guesses.
void check_address(const std::string& option, const std::string& address);

}  // namespace mrlease::admin
