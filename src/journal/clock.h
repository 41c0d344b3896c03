// What the rest of the journal asks of the clock thread; set_ticker is in journal.h.
#pragma once

namespace mlops::journal {

/// Watchdog: a ticker that has not ticked for 50 ms is taken for asleep, until it ticks again. From slow paths only.
void check_ticker();
/// In a forked child: there is no ticker.
void forget_ticker();

}  // namespace mlops::journal
