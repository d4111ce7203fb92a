"""One process each: receive, infer, report, deliver. They meet in the spool; the links carry only hints."""
