// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/probe/probe.h"

namespace mrlease::client {

Outcome choose_backing(mrl_backing wanted, std::uint32_t accepted_quirks, const DeviceCaps& caps, bool userfaultfd,
                       Choice* out) {
  const bool quirk = (accepted_quirks & MRL_QUIRK_ODP_PAGE_ALIGNED) != 0;
  const bool usable = caps.odp == 1 || (caps.odp == 2 && quirk);
  std::string text = "odp: " + caps.odp_text;
  if (caps.odp == 2) text += quirk ? ", accepted by quirk" : ", not accepted (MRL_QUIRK_ODP_PAGE_ALIGNED)";
  if (wanted == MRL_BACKING_DIRECT || wanted == MRL_BACKING_BOUNCE) {
    *out = {wanted, false, std::string(mrl_backing_name(wanted)) + ": asked for"};
    return {};
  }
  if (!usable) {
    if (wanted == MRL_BACKING_AUTO) {
      *out = {MRL_BACKING_BOUNCE, false, text};
      return {};
    }
    return {EOPNOTSUPP, text + "; use MRL_BACKING_BOUNCE, which works on every device"};
  }
  const bool transparent = wanted != MRL_BACKING_ODP_COOPERATIVE && caps.waits && userfaultfd;
  if (wanted == MRL_BACKING_ODP_COOPERATIVE) {
    text += "; cooperative: asked for";
  } else {
    text += "; " + (userfaultfd || !caps.waits ? caps.waits_text : std::string("userfaultfd is not granted"));
  }
  *out = {transparent ? MRL_BACKING_ODP : MRL_BACKING_ODP_COOPERATIVE, transparent, text};
  return {};
}

}  // namespace mrlease::client
