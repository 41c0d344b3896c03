// Lifecycle: what fork and exit do to us.
//
// fork: all our locks are held across it, so the child finds every table whole. The child keeps the handles and a
// journal of its own, and nothing else: no thread, no socket, no database. exit: the guard closes what is open, within
// the exit deadline, and two seconds later leaves whatever still runs. In a forked child it flushes stdio and leaves at
// once, because the static destructors of an inherited RocksDB hang (7.8) or crash (11.8) there.
#pragma once

namespace mlops::client {

/// Registers the fork handlers and the exit guard, after the database library made its statics, so that the guard runs
/// before their end. Before anything opens a database. Once per process (about 3 ms); cheap to repeat.
void install_lifecycle();
/// The same, and again on top of what the HTTP and TLS libraries register for exit. Before anything delivers.
void install_delivery_lifecycle();
/// Exit runs the guard before whatever was registered for it until now. For libraries that are loaded late; while one
/// of them is at work on a thread of ours, the guard waits for it.
void renew_exit_guard();

}  // namespace mlops::client
