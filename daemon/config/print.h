// SPDX-License-Identifier: Apache-2.0
// The table, told in other ways.
#pragma once

#include <string>

namespace mrlease::config {

// The man page's list of options (mrleased --help-man): roff, between .SS headings.
std::string man_options();
// A mrleased.toml in which every key stands as a comment, with its default (mrleased --example-config).
std::string example_file();

}  // namespace mrlease::config
