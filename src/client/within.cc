#include "client/within.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/base.h"

namespace mlops::client {

bool within(Millis deadline, mlflow::Api* api, const std::function<void()>& ask) {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  std::thread worker([&] {
    base::begin_own_thread("mlops-lookup");
    ask();
    const std::lock_guard<std::mutex> lock(mutex);
    done = true;
    changed.notify_all();
  });
  bool late = false;
  {
    std::unique_lock<std::mutex> lock(mutex);
    late = !changed.wait_for(lock, std::chrono::milliseconds(deadline.count()), [&done] { return done; });
    while (!done) {  // a call may be followed by another: cancel each
      lock.unlock();
      api->cancel();
      lock.lock();
      changed.wait_for(lock, std::chrono::milliseconds(20), [&done] { return done; });
    }
  }
  worker.join();
  return !late;
}

}  // namespace mlops::client
