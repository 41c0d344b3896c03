// Intents: through the record and back, and what no server takes is refused by name.
#include "model/intent.h"

#include <gtest/gtest.h>

namespace mlops::model {
namespace {

Uid uid_of(std::uint8_t first) {
  Uid uid;
  for (std::size_t i = 0; i < uid.bytes.size(); ++i) uid.bytes[i] = static_cast<std::uint8_t>(first + i);
  return uid;
}

Intent full() {
  Intent i;
  i.uid = uid_of(1);
  i.verb = Verb::create_version;
  i.model = "digits";
  i.key = "k";
  i.value = "v";
  i.version = "uid:" + uid_of(9).hex();
  i.description = "two\nlines";
  i.tags = {{"tag.x", "1"}, {"empty", ""}};
  i.source = "s3://b/k";
  i.path = "model";
  i.run = uid_of(20);
  i.logged_model = uid_of(30);
  i.create_model = true;
  i.from_model = "other";
  i.archive = true;
  i.only_if_version = "7";
  i.who = "ann";
  i.why = "because";
  return i;
}

TEST(Intent, ComesBackFromItsRecord) {
  const Intent in = full();
  Op op = op_of(in);
  op.ticket = 5;
  op.time_ms = 6;
  EXPECT_EQ(op.run, kRegistry);
  const Result<Op> read = decode_op(encode_op(op));
  ASSERT_TRUE(read.ok());
  const Result<Intent> out = intent_of(*read);
  ASSERT_TRUE(out.ok()) << out.status().to_string();
  EXPECT_EQ(out->uid, in.uid);
  EXPECT_EQ(out->verb, in.verb);
  EXPECT_EQ(out->model, in.model);
  EXPECT_EQ(out->key, in.key);
  EXPECT_EQ(out->value, in.value);
  EXPECT_EQ(out->version, in.version);
  EXPECT_EQ(out->description, in.description);
  EXPECT_EQ(out->tags, in.tags);
  EXPECT_EQ(out->source, in.source);
  EXPECT_EQ(out->path, in.path);
  EXPECT_EQ(out->run, in.run);
  EXPECT_EQ(out->logged_model, in.logged_model);
  EXPECT_TRUE(out->create_model && out->archive && !out->only_if_absent);
  EXPECT_EQ(out->from_model, in.from_model);
  EXPECT_EQ(out->only_if_version, in.only_if_version);
  EXPECT_EQ(out->who, in.who);
  EXPECT_EQ(out->why, in.why);
  EXPECT_EQ(out->ticket, 5u);
  EXPECT_EQ(out->time_ms, 6);
}

/// Bytes on disk: a change here is a change of the format.
TEST(Intent, TheRecordIsWhatFormatMdSays) {
  Intent i;
  i.uid = uid_of(1);
  i.verb = Verb::promote;
  i.model = "digits";
  i.key = "champion";
  i.version = "3";
  i.only_if_absent = true;
  i.who = "ann";
  i.tags = {{"a", "b"}};
  const Op op = op_of(i);
  EXPECT_EQ(static_cast<int>(op.kind), 16);
  EXPECT_EQ(op.number, 16);
  EXPECT_EQ(op.parent, i.uid);
  EXPECT_EQ(op.key, "digits");
  EXPECT_EQ(op.pairs,
            (Pairs{{"key", "champion"}, {"version", "3"}, {"only_if_absent", "1"}, {"who", "ann"}, {"tag.a", "b"}}));
  const int numbers[] = {static_cast<int>(Verb::create_model),
                         static_cast<int>(Verb::rename_model),
                         static_cast<int>(Verb::update_model),
                         static_cast<int>(Verb::delete_model),
                         static_cast<int>(Verb::set_model_tag),
                         static_cast<int>(Verb::delete_model_tag),
                         static_cast<int>(Verb::set_alias),
                         static_cast<int>(Verb::delete_alias),
                         static_cast<int>(Verb::create_version),
                         static_cast<int>(Verb::update_version),
                         static_cast<int>(Verb::delete_version),
                         static_cast<int>(Verb::set_version_tag),
                         static_cast<int>(Verb::delete_version_tag),
                         static_cast<int>(Verb::set_stage),
                         static_cast<int>(Verb::copy_version),
                         static_cast<int>(Verb::promote),
                         static_cast<int>(Verb::rollback)};
  for (int n = 0; n < 17; ++n) EXPECT_EQ(numbers[n], n + 1);
}

TEST(Intent, WhatIsNoIntentIsSaid) {
  Op op = op_of(full());
  op.number = 18;
  EXPECT_EQ(intent_of(op).status().code(), StatusCode::failed_precondition);
  op.number = 0;
  EXPECT_EQ(intent_of(op).status().code(), StatusCode::failed_precondition);
  op = op_of(full());
  op.kind = OpKind::param;
  EXPECT_EQ(intent_of(op).status().code(), StatusCode::data_loss);
  op = op_of(full());
  for (auto& [key, value] : op.pairs) {
    if (key == "run") value = "no uid";
  }
  EXPECT_EQ(intent_of(op).status().code(), StatusCode::data_loss);
}

TEST(Intent, NamesThatServersRefuse) {
  for (const char* good : {"digits", "a.b-c_d e", "日本", "x@y", "0"}) EXPECT_TRUE(check_model_name(good).ok()) << good;
  EXPECT_TRUE(check_model_name(std::string(256, 'x')).ok());
  for (const char* bad : {"", "a/b", "a:b", ".", "..", "  ", "\t"}) {
    EXPECT_EQ(check_model_name(bad).code(), StatusCode::invalid_argument) << bad;
  }
  EXPECT_FALSE(check_model_name(std::string(257, 'x')).ok());
  EXPECT_FALSE(check_model_name(std::string_view("a\0b", 3)).ok());
  EXPECT_FALSE(check_model_name("\xff").ok());

  for (const char* good : {"champion", "v", "v1x", "a-b_c", "7", "latest-2", "ä"})
    EXPECT_TRUE(check_alias(good).ok()) << good;
  for (const char* bad : {"", "latest", "LaTest", "v1", "V77", "a b", "a/b", "a.b", "a@b"}) {
    EXPECT_EQ(check_alias(bad).code(), StatusCode::invalid_argument) << bad;
  }
  EXPECT_TRUE(check_alias(std::string(255, 'x')).ok());
  EXPECT_FALSE(check_alias(std::string(256, 'x')).ok());
  for (const char* good : {"1", "77"}) EXPECT_TRUE(is_version(good)) << good;
  for (const char* bad : {"", "0", "01", "-1", "1.0", "x", "9999999999999999999"}) EXPECT_FALSE(is_version(bad)) << bad;
}

TEST(Intent, WhatIsMissingOrTooMuchIsNamed) {
  Intent i;
  i.verb = Verb::create_version;
  i.model = "m";
  EXPECT_FALSE(check_intent(i).ok());  // no source
  for (const char* good : {"s3://b/k", "mlflow-artifacts:/1/x", "runs:/r/model", "models:/m-1", "file:///tmp/x"}) {
    i.source = good;
    EXPECT_TRUE(check_intent(i).ok()) << good;
  }
  for (const char* bad : {"/etc", "model", "s3://b/../k", "s3://b/%2e%2e/k"}) {
    i.source = bad;
    EXPECT_EQ(check_intent(i).code(), StatusCode::invalid_argument) << bad;
  }
  i.source.clear();
  i.run = uid_of(1);
  for (const char* good : {"", "model", "a/b..c", "with space"}) {
    i.path = good;
    EXPECT_TRUE(check_intent(i).ok()) << good;
  }
  for (const char* bad : {"/a", "a/", "..", "../a", "a/../b", "a/..", "a//b"}) {
    i.path = bad;
    EXPECT_EQ(check_intent(i).code(), StatusCode::invalid_argument) << bad;
  }
  i.path.clear();
  i.tags = {{"k", std::string(5'000, 'x')}};
  EXPECT_TRUE(check_intent(i).ok());
  i.tags = {{"k", std::string(5'001, 'x')}};
  EXPECT_FALSE(check_intent(i).ok());
  i.tags.clear();
  for (int n = 0; n < 11; ++n) i.tags.emplace_back("k" + std::to_string(n), std::string(5'000, 'x'));
  EXPECT_NE(check_intent(i).message().find("48 KiB"), std::string_view::npos);

  Intent alias;
  alias.verb = Verb::set_alias;
  alias.model = "old/name";  // that an old server has
  alias.key = "champion";
  alias.version = "3";
  EXPECT_TRUE(check_intent(alias).ok());
  alias.only_if_version = "2";
  EXPECT_TRUE(check_intent(alias).ok());
  alias.only_if_absent = true;
  EXPECT_FALSE(check_intent(alias).ok());
  alias.only_if_absent = false;
  alias.version = "uid:12";
  EXPECT_FALSE(check_intent(alias).ok());
}

}  // namespace
}  // namespace mlops::model
