# Performance measures by the definitions that rsimsum and simsum publish (White 2010; Morris, White and Crowther 2019,
# table 6), from an exported file: a second implementation, in another language. Arguments: the file, the result.
arguments <- commandArgs(trailingOnly = TRUE)
if (grepl("dta$", arguments[1])) {
  x <- as.data.frame(haven::read_dta(arguments[1]))
  for (name in c("method", "target", "status")) x[[name]] <- as.character(haven::as_factor(x[[name]]))
  for (name in setdiff(names(x), c("method", "target", "status", "flags"))) x[[name]] <- as.numeric(x[[name]])
} else {
  x <- read.csv(arguments[1], na.strings = "", stringsAsFactors = FALSE)
}
lines <- list()
for (place in unique(paste(x$dgm, x$target))) {
  part <- x[paste(x$dgm, x$target) == place, ]
  reference <- part[part$method == part$method[1], ]
  for (method in unique(part$method)) {
    rows <- part[part$method == method, ]
    stopifnot(identical(rows$rep, reference$rep))
    both <- !is.na(rows$estimate) & !is.na(rows$se)
    e <- rows$estimate[both]
    s <- rows$se[both]
    d <- e - rows$true[both]
    n <- length(e)
    empse <- sd(e)
    modse <- sqrt(mean(s^2))
    variance <- var(s^2)
    pair <- both & !is.na(reference$estimate) & !is.na(reference$se)
    rho <- cor(rows$estimate[pair], reference$estimate[pair])
    ratio <- (sd(reference$estimate[!is.na(reference$estimate)]) / empse)^2
    cover <- mean(rows$lci[both] <= rows$true[both] & rows$true[both] <= rows$uci[both])
    value <- c(mean(d), empse, mean(d^2), modse, 100 * (modse / empse - 1), cover, 100 * (ratio - 1))
    mcse <- c(
      sd(d) / sqrt(n), empse / sqrt(2 * (n - 1)), sd(d^2) / sqrt(n), sqrt(variance / (4 * n * modse^2)),
      100 * modse / empse * sqrt(variance / (4 * n * modse^4) + 1 / (2 * (n - 1))), sqrt(cover * (1 - cover) / n),
      200 * ratio * sqrt(max(0, 1 - rho^2) / (n - 1))
    )
    measure <- c("bias", "empirical_se", "mse", "model_se", "relative_error_model_se", "coverage", "relative_precision")
    lines[[length(lines) + 1]] <- data.frame(
      dgm = rows$dgm[1], target = rows$target[1], method, measure, value, mcse, n, failed = sum(rows$status == "failed")
    )
  }
}
write.csv(do.call(rbind, lines), arguments[2], row.names = FALSE)
