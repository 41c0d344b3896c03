// Lifecycle: what fork and exit do to us.
//
// fork: all our locks are held across it, so the child finds every table whole. The child keeps the handles and a
// journal of its own, and nothing else: no thread, no socket, no database. exit: the guard closes what is open, within
// each root's exit deadline. In a forked child it flushes stdio and leaves at once, because the static destructors of
// an inherited RocksDB hang (7.8) or crash (11.8) there.
#pragma once

namespace mlops::client {

/// Registers the fork handlers and the exit guard. Once per process; cheap to repeat.
void install_lifecycle();
/// Registers the exit guard again: after the database library made its own statics, so that it runs before their end.
void guard_exit();

}  // namespace mlops::client
