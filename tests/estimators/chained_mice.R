# Chained equations by mice: a number of people twice, one of practices once. Rscript chained_mice.R DATA OUT M SWEEPS
suppressMessages({library(mice); library(pan)})
asked <- commandArgs(TRUE)
data <- read.csv(asked[1], na.strings = "")
data$practice <- as.integer(data$practice)
blank <- make.predictorMatrix(data); blank[] <- 0
blank["followup", ] <- c(practice = -2, arm = 1, list_size = 1, baseline = 3, followup = 0)[colnames(blank)]
blank["baseline", ] <- c(practice = -2, arm = 1, list_size = 1, baseline = 0, followup = 3)[colnames(blank)]
blank["list_size", ] <- c(practice = -2, arm = 1, list_size = 0, baseline = 1, followup = 1)[colnames(blank)]
how <- c(practice = "", arm = "", list_size = "2lonly.norm", baseline = "2l.pan", followup = "2l.pan")[colnames(data)]
made <- mice(data, m = as.integer(asked[3]), maxit = as.integer(asked[4]), method = how, predictorMatrix = blank,
             visitSequence = c("list_size", "baseline", "followup"), seed = 1, printFlag = FALSE, paniter = 60)
gone <- function(name, set) set[[name]][is.na(data[[name]])]
rows <- lapply(seq_len(made$m), function(k) {
  set <- complete(made, k)
  fit <- coef(summary(lm(followup ~ arm + baseline + list_size, set)))
  c(arm = fit["arm", 1], variance = fit["arm", 2]^2, slope = fit["baseline", 1], followup = mean(gone("followup", set)),
    baseline = mean(gone("baseline", set)), list_size = mean(gone("list_size", set)), sd = sd(gone("followup", set)))
})
write.csv(do.call(rbind, rows), asked[2], row.names = FALSE)
