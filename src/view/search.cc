#include "view/search.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

namespace mlops::view {
namespace {

using Kind = Field::Kind;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }

// SQL's LIKE: % is any text, _ any one byte.
bool like(std::string_view text, std::string_view pattern, bool fold) {
  std::size_t t = 0, p = 0, star = std::string_view::npos, restart = 0;
  while (t < text.size()) {
    const bool here = p < pattern.size() && pattern[p] != '%' &&
                      (pattern[p] == '_' || (fold ? lower(pattern[p]) == lower(text[t]) : pattern[p] == text[t]));
    if (here) {
      ++t;
      ++p;
    } else if (p < pattern.size() && pattern[p] == '%') {
      star = p++;
      restart = t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++restart;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '%') ++p;
  return p == pattern.size();
}

const std::string* find(const Pairs& pairs, const std::string& key) {
  const auto found = std::find_if(pairs.begin(), pairs.end(), [&](const auto& pair) { return pair.first == key; });
  return found == pairs.end() ? nullptr : &found->second;
}

std::optional<double> number_of(const Field& field, const RunSummary& run) {
  if (field.kind == Kind::metric) {
    const auto m = std::lower_bound(run.metrics.begin(), run.metrics.end(), field.key,
                                    [](const MetricSummary& a, const std::string& key) { return a.name < key; });
    if (m == run.metrics.end() || m->name != field.key) return {};
    return m->last;
  }
  if (field.key == "start_time") return static_cast<double>(run.start_ms);
  if (run.end_ms == 0) return {};
  return static_cast<double>(run.end_ms);
}

std::optional<std::string_view> text_of(const Field& field, const RunSummary& run) {
  const std::string* found = nullptr;
  if (field.kind == Kind::param) {
    found = find(run.params, field.key);
  } else if (field.kind == Kind::tag) {
    found = find(run.tags, field.key);
    if (found == nullptr && field.key == "mlflow.runName") found = &run.name;
    if (found == nullptr && field.key == "mlflow.parentRunId" && !run.parent_id.empty()) found = &run.parent_id;
  } else if (field.key == "status") {
    return run_status_name(run.status);
  } else if (field.key == "run_name") {
    found = &run.name;
  } else if (field.key == "run_id") {
    found = &run.id;
  } else if (field.key == "user_id") {
    found = find(run.tags, "mlflow.user");
  }
  if (found == nullptr) return {};
  return *found;
}

std::string quoted(std::string_view text) {
  return "\"" + std::string(text.substr(0, 80)) + (text.size() > 80 ? "…" : "") + "\"";
}

}  // namespace

/// A cursor over the text of a filter or of one order; the first failure stays.
class Search::Parser {
 public:
  Parser(const char* what, std::string_view text) : what_(what), text_(text) {}

  Status filter(std::vector<Clause>* out) {
    skip();
    if (at_ == text_.size()) return {};
    for (;;) {
      Clause clause;
      if (Status s = one_clause(&clause); !s.ok()) return s;
      out->push_back(std::move(clause));
      skip();
      if (at_ == text_.size()) return {};
      const std::size_t here = at_;
      const std::string_view next = word();
      if (same_word(next, "and")) continue;
      if (same_word(next, "or")) return fail(here, "OR is not part of MLflow's search language: ask twice");
      return fail(here, "expected AND or the end");
    }
  }

  Status order(Order* out) {
    if (Status s = field(&out->field); !s.ok()) return s;
    skip();
    if (at_ == text_.size()) return {};
    const std::size_t here = at_;
    const std::string_view direction = word();
    out->descending = same_word(direction, "desc");
    if (!out->descending && !same_word(direction, "asc")) return fail(here, "expected ASC or DESC");
    skip();
    return at_ == text_.size() ? Status() : fail(at_, "expected the end");
  }

 private:
  void skip() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }
  Status fail(std::size_t at, const std::string& words) const {
    return Status(StatusCode::invalid_argument,
                  std::string(what_) + " " + quoted(text_) + ": " + words +
                      (at < text_.size() ? " at " + quoted(text_.substr(at)) : ", at its end"));
  }
  std::string_view word() {
    skip();
    const std::size_t begin = at_;
    while (at_ < text_.size() && !is_space(text_[at_]) && text_[at_] != '(' && text_[at_] != '\'' && text_[at_] != '"')
      ++at_;
    return text_.substr(begin, at_ - begin);
  }
  // What stands between two equal marks; no escapes, as in MLflow.
  Status between_marks(std::string* out) {
    const char mark = text_[at_];
    const std::size_t end = text_.find(mark, at_ + 1);
    if (end == std::string_view::npos) return fail(at_, std::string("the closing ") + mark + " is missing");
    *out = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return {};
  }
  bool marked() const { return at_ < text_.size() && (text_[at_] == '`' || text_[at_] == '"'); }

  // A name ends before an operator; "run name" is the one attribute with a space, in marks.
  std::string_view plain_name() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && !is_space(text_[at_]) &&
           std::string_view("=!<>('`\"").find(text_[at_]) == std::string_view::npos)
      ++at_;
    return text_.substr(begin, at_ - begin);
  }

  Status field(Field* out) {
    skip();
    const std::size_t here = at_;
    if (marked()) {
      if (Status s = between_marks(&out->key); !s.ok()) return s;
      return attribute(here, out);
    }
    const std::string_view name = plain_name();
    if (name.empty()) return fail(here, "expected metrics.<key>, params.<key>, tags.<key> or an attribute");
    const std::size_t dot = name.find('.');
    if (dot == std::string_view::npos) {
      out->key = name;
      return attribute(here, out);
    }
    const std::string_view kind = name.substr(0, dot);
    const auto any = [kind](std::initializer_list<std::string_view> words) {
      return std::find(words.begin(), words.end(), kind) != words.end();
    };
    if (any({"metric", "metrics"})) {
      out->kind = Kind::metric;
    } else if (any({"param", "params", "parameter", "parameters"})) {
      out->kind = Kind::param;
    } else if (any({"tag", "tags"})) {
      out->kind = Kind::tag;
    } else if (any({"attribute", "attributes", "attr", "run"})) {
      out->kind = Kind::attribute;
    } else if (any({"dataset", "datasets"})) {
      return fail(here, "datasets are not in this buffer yet; use metrics, params, tags and attributes");
    } else {
      return fail(here, "a name begins with metrics., params., tags. or attributes.");
    }
    out->key = name.substr(dot + 1);
    if (out->key.empty() && marked()) {
      if (Status s = between_marks(&out->key); !s.ok()) return s;
    }
    if (out->key.empty()) return fail(here, "the key after the point is missing");
    return out->kind == Kind::attribute ? attribute(here, out) : Status();
  }

  Status attribute(std::size_t here, Field* out) const {
    out->kind = Kind::attribute;
    if (out->key == "created" || out->key == "Created") out->key = "start_time";
    if (out->key == "run name" || out->key == "Run name" || out->key == "Run Name") out->key = "run_name";
    constexpr std::array<std::string_view, 6> kKnown = {"status",  "run_name",   "run_id",
                                                        "user_id", "start_time", "end_time"};
    if (std::find(kKnown.begin(), kKnown.end(), out->key) != kKnown.end()) return {};
    return fail(here,
                "the attributes are status, run_name, run_id, user_id, start_time and end_time; metrics, params "
                "and tags are named metrics.<key>, params.<key>, tags.<key>");
  }

  Status one_clause(Clause* out) {
    if (Status s = field(&out->field); !s.ok()) return s;
    skip();
    const std::size_t here = at_;
    if (Status s = comparator(&out->is); !s.ok()) return s;
    const bool numeric = out->field.numeric();
    const bool text_only = out->is == Is::like || out->is == Is::ilike || out->is == Is::in || out->is == Is::not_in;
    if (out->is == Is::null || out->is == Is::not_null) {
      if (out->field.kind == Kind::param || out->field.kind == Kind::tag) return {};
      return fail(here, "IS NULL is for params and tags");
    }
    if (numeric && text_only) return fail(here, "LIKE, ILIKE and IN are for texts; numbers take = != < <= > >=");
    if (!numeric && !text_only && out->is != Is::equal && out->is != Is::not_equal) {
      return fail(here, "texts take = != LIKE ILIKE IN; params and tags are texts, also those that look like numbers");
    }
    if (out->is == Is::in || out->is == Is::not_in) return list(&out->list);
    return numeric ? number(&out->number) : text(&out->text);
  }

  Status comparator(Is* out) {
    const std::size_t here = at_;
    constexpr std::array<std::pair<std::string_view, Is>, 7> kSigns = {{{"!=", Is::not_equal},
                                                                        {"<=", Is::less_equal},
                                                                        {">=", Is::greater_equal},
                                                                        {"==", Is::equal},
                                                                        {"=", Is::equal},
                                                                        {"<", Is::less},
                                                                        {">", Is::greater}}};
    for (const auto& [sign, is] : kSigns) {
      if (text_.substr(at_, sign.size()) != sign) continue;
      at_ += sign.size();
      *out = is;
      return {};
    }
    const std::string_view first = word();
    if (same_word(first, "like")) return *out = Is::like, Status();
    if (same_word(first, "ilike")) return *out = Is::ilike, Status();
    if (same_word(first, "in")) return *out = Is::in, Status();
    if (same_word(first, "not")) {
      if (same_word(word(), "in")) return *out = Is::not_in, Status();
    } else if (same_word(first, "is")) {
      const std::string_view second = word();
      if (same_word(second, "null")) return *out = Is::null, Status();
      if (same_word(second, "not") && same_word(word(), "null")) return *out = Is::not_null, Status();
    }
    return fail(here, "expected = != < <= > >= LIKE ILIKE IN, NOT IN, IS NULL or IS NOT NULL");
  }

  Status number(double* out) {
    skip();
    const std::size_t here = at_;
    std::string_view digits = word();
    if (!digits.empty() && digits.front() == '+') digits.remove_prefix(1);
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *out);
    if (error == std::errc() && stop == digits.data() + digits.size() && std::isfinite(*out)) return {};
    return fail(here, "expected a number");
  }

  Status text(std::string* out) {
    skip();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) {
      return fail(at_, "expected a text in 'quotes'");
    }
    return between_marks(out);
  }

  Status list(std::vector<std::string>* out) {
    skip();
    if (at_ == text_.size() || text_[at_] != '(') return fail(at_, "expected a list: ('a', 'b')");
    ++at_;
    for (;;) {
      std::string item;
      if (Status s = text(&item); !s.ok()) return s;
      out->push_back(std::move(item));
      skip();
      if (at_ == text_.size() || (text_[at_] != ',' && text_[at_] != ')')) return fail(at_, "expected , or )");
      if (text_[at_++] == ')') return {};
    }
  }

  const char* what_;
  std::string_view text_;
  std::size_t at_ = 0;
};

Result<Search> Search::parse(const RunQuery& query) {
  Search search;
  search.experiment_ = query.experiment;
  search.shown_ = query.shown;
  if (Status s = Parser("filter", query.filter).filter(&search.clauses_); !s.ok()) return s;
  for (const std::string& text : query.order_by) {
    Order order;
    if (Status s = Parser("order", text).order(&order); !s.ok()) return s;
    search.orders_.push_back(std::move(order));
  }
  return search;
}

bool Search::holds(const Clause& c, const RunSummary& run) {
  if (c.field.numeric()) {
    const std::optional<double> value = number_of(c.field, run);
    if (!value) return false;
    switch (c.is) {
      case Is::equal:
        return *value == c.number;
      case Is::not_equal:
        return *value != c.number;
      case Is::less:
        return *value < c.number;
      case Is::less_equal:
        return *value <= c.number;
      case Is::greater:
        return *value > c.number;
      default:
        return *value >= c.number;
    }
  }
  const std::optional<std::string_view> value = text_of(c.field, run);
  if (c.is == Is::null || c.is == Is::not_null) return value.has_value() == (c.is == Is::not_null);
  if (!value) return false;
  // Either of a run's two ids is its id.
  const bool by_id = c.field.kind == Kind::attribute && c.field.key == "run_id";
  const auto is = [&](std::string_view text) { return *value == text || (by_id && run.server_id == text); };
  switch (c.is) {
    case Is::equal:
      return is(c.text);
    case Is::not_equal:
      return !is(c.text);
    case Is::in:
    case Is::not_in:
      return std::any_of(c.list.begin(), c.list.end(), is) == (c.is == Is::in);
    default:
      return like(*value, c.text, c.is == Is::ilike);
  }
}

bool Search::matches(const RunSummary& run) const {
  if (shown_ != RunQuery::Shown::all && run.deleted != (shown_ == RunQuery::Shown::deleted)) return false;
  if (!experiment_.empty() && run.experiment != experiment_) return false;
  return std::all_of(clauses_.begin(), clauses_.end(), [&](const Clause& c) { return holds(c, run); });
}

bool Search::before(const RunSummary& a, const RunSummary& b) const {
  for (const Order& order : orders_) {
    if (order.field.numeric()) {
      const std::optional<double> x = number_of(order.field, a), y = number_of(order.field, b);
      const auto rank = [](const std::optional<double>& v) { return !v ? 2 : std::isnan(*v) ? 1 : 0; };
      if (rank(x) != rank(y)) return rank(x) < rank(y);
      if (rank(x) == 0 && *x != *y) return order.descending ? *x > *y : *x < *y;
    } else {
      const std::optional<std::string_view> x = text_of(order.field, a), y = text_of(order.field, b);
      if (x.has_value() != y.has_value()) return x.has_value();
      if (x && *x != *y) return order.descending ? *x > *y : *x < *y;
    }
  }
  return a.start_ms != b.start_ms ? a.start_ms > b.start_ms : a.id < b.id;
}

}  // namespace mlops::view
