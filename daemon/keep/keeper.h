// SPDX-License-Identifier: Apache-2.0
#pragma once
inline constexpr int kStoreMax = 65536;
