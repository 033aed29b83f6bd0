#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "support/s3_answers.h"

namespace stellarium::test {

/// The bucket "images" of an S3 server in memory, and its bad habits. Answers the questions of S3Answers, which lets
/// one in at a time.
class FakeS3 {
 public:
  struct Habits {
    bool overwrites = false;           ///< knows no If-None-Match …
    bool overwrites_in_parts = false;  ///< … or not for uploads in parts
    bool refuses_conditions = false;   ///< answers them with 501
    bool versioned = false, hides_versioning = false;
    bool shows_what_was = false;  ///< reads answer the state before the last write
    bool takes_no_parts = false;
    std::size_t page = 1000;  ///< keys in a listing, at most
  };
  Habits habits;
  std::map<std::string, std::string> objects;
  std::map<std::string, std::map<int, std::string>> uploads;
  unsigned versions = 0;  ///< of a versioned bucket that were not removed as such

  S3Answer operator()(const S3Question& question) {
    const std::string bucket = "/images";
    if (question.path.compare(0, bucket.size(), bucket) != 0) return refusal(404, "NoSuchBucket");
    const std::string key = question.path.size() > bucket.size() + 1 ? question.path.substr(bucket.size() + 1) : "";
    if (key.empty()) return of_bucket(question);
    if (question.asks("uploads") || question.asks("uploadId")) return of_upload(question, key);
    return of_object(question, key);
  }

  static S3Answer refusal(int status, const std::string& code, const std::string& message = "") {
    return {status, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>" + code + "</Code><Message>" + message +
                        "</Message></Error>"};
  }

 private:
  using Objects = std::map<std::string, std::string>;

  const Objects& shown() const { return habits.shows_what_was ? before_ : objects; }

  /// Nothing, or why it may not be written.
  S3Answer refused(const S3Question& question, const std::string& key, bool ignores) const {
    if (question.headers.count("if-none-match") == 0) return {200};
    if (habits.refuses_conditions) return refusal(501, "NotImplemented");
    return objects.count(key) != 0 && !ignores ? refusal(412, "PreconditionFailed") : S3Answer{200};
  }

  S3Answer of_object(const S3Question& question, const std::string& key) {
    if (question.method == "PUT") {
      const S3Answer answer = refused(question, key, habits.overwrites);
      if (answer.status != 200) return answer;
      before_ = objects;
      objects[key] = question.body;
      if (!habits.versioned) return {200, "", {{"etag", "\"tag\""}}};
      ++versions;
      return {200, "", {{"x-amz-version-id", "version-1"}}};
    }
    if (question.method == "DELETE") {
      before_ = objects;
      objects.erase(key);
      if (habits.versioned && question.asks("versionId")) --versions;
      return {204};
    }
    const auto found = shown().find(key);
    if (found == shown().end()) return question.method == "HEAD" ? S3Answer{404} : refusal(404, "NoSuchKey");
    S3Answer answer{200, found->second};
    if (const auto mark = marks_.find(key); mark != marks_.end())
      answer.headers["x-amz-meta-stellarium-upload"] = mark->second;
    return answer;
  }

  S3Answer of_upload(const S3Question& question, const std::string& key) {
    if (habits.takes_no_parts) return refusal(501, "NotImplemented");
    if (question.asks("uploads")) {
      const std::string id = key + "?" + std::to_string(++last_upload_);
      uploads[id];
      marks_of_uploads_[id] = question.headers.at("x-amz-meta-stellarium-upload");
      return {200, "<InitiateMultipartUploadResult><UploadId>" + id + "</UploadId></InitiateMultipartUploadResult>"};
    }
    const auto upload = uploads.find(question.query.at("uploadId"));
    if (upload == uploads.end()) return refusal(404, "NoSuchUpload");
    if (question.method == "PUT") {
      upload->second[std::stoi(question.query.at("partNumber"))] = question.body;
      return {200, "", {{"etag", "\"part\""}}};
    }
    if (question.method == "POST") {
      const S3Answer answer = refused(question, key, habits.overwrites || habits.overwrites_in_parts);
      if (answer.status != 200) return answer;
      before_ = objects;
      objects[key].clear();
      for (const auto& [number, bytes] : upload->second) objects[key] += bytes;
      marks_[key] = marks_of_uploads_[upload->first];
    }
    uploads.erase(upload);
    return question.method == "POST" ? S3Answer{200, "<CompleteMultipartUploadResult/>"} : S3Answer{204};
  }

  S3Answer of_bucket(const S3Question& question) {
    if (question.asks("versioning")) {
      if (habits.hides_versioning) return refusal(403, "AccessDenied");
      return {200, std::string{"<VersioningConfiguration>"} + (habits.versioned ? "<Status>Enabled</Status>" : "") +
                       "</VersioningConfiguration>"};
    }
    if (question.asks("uploads")) {
      std::string body = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>";
      for (const auto& [id, parts] : uploads)
        body += "<Upload><Key>" + id.substr(0, id.find('?')) + "</Key><UploadId>" + id +
                "</UploadId><Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload>";
      return {200, body + "</ListMultipartUploadsResult>"};
    }
    const std::string prefix = value(question, "prefix"), token = value(question, "continuation-token");
    std::string contents, last;
    std::size_t count = 0;
    auto at = token.empty() ? shown().lower_bound(prefix) : shown().upper_bound(token);
    for (; at != shown().end() && at->first.starts_with(prefix) && count < habits.page; ++at, ++count) {
      last = at->first;
      contents += "<Contents><Key>" + last + "</Key><LastModified>2026-11-30T01:02:03.000Z</LastModified><Size>" +
                  std::to_string(at->second.size()) + "</Size></Contents>";
    }
    const bool more = at != shown().end() && at->first.starts_with(prefix);
    return {200, "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Prefix>" +
                     prefix + "</Prefix><KeyCount>" + std::to_string(count) + "</KeyCount><IsTruncated>" +
                     (more ? "true" : "false") + "</IsTruncated>" +
                     (more ? "<NextContinuationToken>" + last + "</NextContinuationToken>" : "") + contents +
                     "</ListBucketResult>"};
  }

  static std::string value(const S3Question& question, const std::string& name) {
    const auto found = question.query.find(name);
    return found == question.query.end() ? "" : found->second;
  }

  Objects before_;
  std::map<std::string, std::string> marks_, marks_of_uploads_;
  unsigned last_upload_ = 0;
};

}  // namespace stellarium::test
