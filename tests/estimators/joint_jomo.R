# Baseline and follow-up as two outcomes with random intercepts, by jomo. Rscript joint_jomo.R DATA OUT M BURN BETWEEN
suppressMessages(library(jomo))
asked <- commandArgs(TRUE)
data <- read.csv(asked[1], na.strings = "")
set.seed(7)
started <- proc.time()[["user.self"]]
made <- jomo1rancon(
  Y = data[c("baseline", "followup")], X = cbind(one = 1, data[c("arm", "list_size", "age")]),
  clus = as.integer(factor(data$practice)), nburn = as.integer(asked[4]), nbetween = as.integer(asked[5]),
  nimp = as.integer(asked[3]), output = 0
)
seconds <- proc.time()[["user.self"]] - started
gone <- lapply(data, is.na)
rows <- lapply(seq_len(as.integer(asked[3])), function(k) {
  set <- made[made$Imputation == k, ]
  fit <- coef(summary(lm(followup ~ arm + baseline + list_size + age, set)))
  values <- set$followup[gone$followup]
  c(arm = fit["arm", 1], variance = fit["arm", 2]^2, slope = fit["baseline", 1], followup = mean(values),
    baseline = mean(set$baseline[gone$baseline]), sd = sd(values),
    seconds = seconds)
})
write.csv(do.call(rbind, rows), asked[2], row.names = FALSE)
